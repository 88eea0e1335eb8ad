package workloads

import (
	"errors"
	"fmt"

	"github.com/segmentio/kafka-go"
	produceAPI "github.com/segmentio/kafka-go/protocol/produce"
	"github.com/twmb/franz-go/pkg/kerr"

	"soak/history"
)

// Kafka error codes that decide an outcome here.
const (
	codeNone                 int16 = 0
	codeUnknownTopic         int16 = 3
	codeLeaderNotAvailable   int16 = 5
	codeMessageTooLarge      int16 = 10
	codeInvalidTopic         int16 = 17
	codeNotEnoughReplicas    int16 = 19
	codeUnsupportedVersion   int16 = 35
	codeTopicExists          int16 = 36
	codeInvalidPartitions    int16 = 37
	codeInvalidReplication   int16 = 38
	codeInvalidConfig        int16 = 40
	codeNotController        int16 = 41
	codeInvalidRequest       int16 = 42
	codePolicyViolation      int16 = 44
	codeThrottlingQuotaAdmin int16 = 89
)

// notSent is an error met before any byte of the request was handed to the network: surely without effect.
type notSent struct{ err error }

func (e *notSent) Error() string { return e.err.Error() }
func (e *notSent) Unwrap() error { return e.err }

// brokerError is an error code in an answer.
type brokerError struct{ code int16 }

func (e *brokerError) Error() string { return codeName(e.code) }

// codeName is Kafka's name of an error code, with the number.
func codeName(code int16) string {
	if ke := kerr.TypedErrorForCode(code); ke != nil {
		return fmt.Sprintf("%s (%d)", ke.Message, code)
	}
	if code == codeNone {
		return ""
	}
	return fmt.Sprintf("UNKNOWN_ERROR_CODE (%d)", code)
}

// produceOutcome judges the error of a produce attempt, of which there was exactly one. Failed means that the broker surely
// did not append: it answered so before its append, or nothing was sent. Everything else is unknown, NOT_LEADER (6),
// REQUEST_TIMED_OUT (7) and NOT_ENOUGH_REPLICAS_AFTER_APPEND (20) above all: a broker may give them after it appended.
// UNKNOWN_TOPIC_OR_PARTITION counts as surely not appended because record topics are never deleted in a run.
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
		switch int16(code) {
		case codeUnknownTopic, codeMessageTooLarge, codeInvalidTopic, codeNotEnoughReplicas:
			return history.Failed
		}
	}
	return history.Unknown
}

// adminOutcome judges the error code answered to an admin request that changes something. "Already exists" and "unknown
// topic" are true answers about the state, and so ok; codes given by validation or by a node that is not the controller
// surely had no effect; anything else may have reached the log.
func adminOutcome(code int16) history.Outcome {
	switch code {
	case codeNone, codeTopicExists, codeUnknownTopic:
		return history.OK
	case codeNotController, codeInvalidTopic, codeUnsupportedVersion, codeInvalidPartitions, codeInvalidReplication,
		codeInvalidConfig, codeInvalidRequest, codePolicyViolation, codeThrottlingQuotaAdmin:
		return history.Failed
	}
	return history.Unknown
}

// readOutcome judges the error code answered to an admin request that changes nothing. A read that was not answered with
// state says nothing and had no effect: failed.
func readOutcome(code int16) history.Outcome {
	switch code {
	case codeNone, codeUnknownTopic:
		return history.OK
	}
	return history.Failed
}

// transportOutcome judges an error of our own single request: failed if it surely was not sent, else unknown.
func transportOutcome(err error) history.Outcome {
	if _, ok := errors.AsType[*notSent](err); ok {
		return history.Failed
	}
	return history.Unknown
}
