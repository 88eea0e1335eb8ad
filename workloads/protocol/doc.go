// Package protocol says what client operations are in Kafka's protocol: history.Operation values as kmsg requests, and
// what their answers mean for the operation. It is pure (a test refuses clocks, goroutines and map order), so that package workloads
// uses it with real sockets and the simulator's clients in virtual time, and both ask and judge alike.
//
// It sends nothing, retries nothing and knows no connection: its callers do, and tell it by Settle what became of a
// request that was not answered.
package protocol
