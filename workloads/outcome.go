package workloads

import (
	"errors"

	"github.com/segmentio/kafka-go"
	produceAPI "github.com/segmentio/kafka-go/protocol/produce"

	"soak/history"
	"soak/workloads/protocol"
)

// notSent is an error met before any byte of the request was handed to the network: surely without effect.
type notSent struct{ err error }

func (e *notSent) Error() string { return e.err.Error() }
func (e *notSent) Unwrap() error { return e.err }

// produceOutcome judges the error of a produce attempt, of which there was exactly one. Failed means that surely nothing was appended:
// nothing was sent, or the broker's answer says so (protocol.ProduceOutcome). Everything else is unknown.
func produceOutcome(err error) history.Outcome {
	if err == nil {
		return history.OK
	}
	if _, ok := errors.AsType[*notSent](err); ok {
		return history.Failed
	}
	// kafka-go found no leader to send to in its own metadata.
	if _, ok := errors.AsType[*produceAPI.Error](err); ok {
		return history.Failed
	}
	if code, ok := errors.AsType[kafka.Error](err); ok {
		return protocol.ProduceOutcome(int16(code))
	}
	return history.Unknown
}

// transportOutcome judges an error of our own single request: failed if it surely was not sent, else unknown.
func transportOutcome(err error) history.Outcome {
	if _, ok := errors.AsType[*notSent](err); ok {
		return history.Failed
	}
	return history.Unknown
}
