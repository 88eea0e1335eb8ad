// Package meta is the replicated metadata state machine: commands, their encoding, and State, which
// applies committed commands in log order. Apply is a pure function of the state and the command: no clock, no
// local configuration, no map order, so that every node has the same state at the same index. What depends on a node's
// view (who is alive, where replicas go) is decided by the proposer and written into the command.
//
// Commands that change a partition are compare-and-set on its partition epoch: late and duplicate ones are
// refused, and the refusal is part of the history.
package meta
