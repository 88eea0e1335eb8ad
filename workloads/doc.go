// Package workloads carries out client operations against a real cluster: produce with kafka-go, and with franz-go where a producer is idempotent; auto-create with kafka-go, admin
// operations and the drain with single kmsg requests. It takes history.Operation values with their
// question filled in and gives them back with their answer; it decides nothing about what is asked or when (that
// is workloads/gen, under the run loop), but for the consumers that read along, who go on by themselves, and judges nothing. What operations are in the protocol is workloads/protocol.
package workloads
