package protocol

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"soak/history"
)

// Kafka error codes that decide something in clients.
const (
	CodeNone                 int16 = 0
	CodeOffsetOutOfRange     int16 = 1
	CodeUnknownTopic         int16 = 3
	CodeLeaderNotAvailable   int16 = 5
	CodeNotLeader            int16 = 6
	CodeMessageTooLarge      int16 = 10
	CodeInvalidTopic         int16 = 17
	CodeRequestTimedOut      int16 = 7
	CodeNotEnoughReplicas    int16 = 19
	CodeNotEnoughAfterAppend int16 = 20
	CodeUnsupportedVersion   int16 = 35
	CodeTopicExists          int16 = 36
	CodeInvalidPartitions    int16 = 37
	CodeInvalidReplication   int16 = 38
	CodeInvalidConfig        int16 = 40
	CodeNotController        int16 = 41
	CodeInvalidRequest       int16 = 42
	CodePolicyViolation      int16 = 44
	CodeOutOfOrderSequence   int16 = 45
	CodeUnknownProducerID    int16 = 59
	CodeFencedLeaderEpoch    int16 = 74
	CodeUnknownLeaderEpoch   int16 = 75
	CodeThrottlingQuotaAdmin int16 = 89
)

// ErrNotAnswered: an answer came and holds nothing about the topic, partition or resource that was asked about.
var ErrNotAnswered = errors.New("the answer does not speak of what was asked")

// BrokerError is an error code in an answer.
type BrokerError struct{ Code int16 }

func (e *BrokerError) Error() string { return CodeName(e.Code) }

// CodeName is Kafka's name of an error code, with the number; "" for none.
func CodeName(code int16) string {
	if ke := kerr.TypedErrorForCode(code); ke != nil {
		return fmt.Sprintf("%s (%d)", ke.Message, code)
	}
	if code == CodeNone {
		return ""
	}
	return fmt.Sprintf("UNKNOWN_ERROR_CODE (%d)", code)
}

// Settle writes an outcome into an operation.
func Settle(op *history.Operation, o history.Outcome, err error) {
	op.Outcome = o
	op.Error = ""
	if err != nil {
		op.Error = err.Error()
	}
}

// ProduceOutcome judges the error code answered to a produce attempt, of which there was exactly one. Failed means that the broker
// surely did not append: it answered so before its append. Everything else is unknown, NOT_LEADER (6),
// REQUEST_TIMED_OUT (7) and NOT_ENOUGH_REPLICAS_AFTER_APPEND (20) above all: a broker may give them after it appended.
// UNKNOWN_TOPIC_OR_PARTITION counts as surely not appended because record topics are never deleted in a run.
func ProduceOutcome(code int16) history.Outcome {
	switch code {
	case CodeNone:
		return history.OK
	case CodeUnknownTopic, CodeMessageTooLarge, CodeInvalidTopic, CodeNotEnoughReplicas:
		return history.Failed
	}
	return history.Unknown
}

// RetryProduce says what an idempotent producer does about an error code: send the batch again; or, where the code speaks of the sequence, do so
// only as long as an earlier batch of the partition is not answered, which explains it. Otherwise its id is of no more use.
func RetryProduce(code int16) (again, sequence bool) {
	switch code {
	case CodeUnknownTopic, CodeLeaderNotAvailable, CodeNotLeader, CodeRequestTimedOut, CodeNotEnoughReplicas, CodeNotEnoughAfterAppend,
		CodeFencedLeaderEpoch, CodeUnknownLeaderEpoch:
		return true, false
	case CodeOutOfOrderSequence, CodeUnknownProducerID:
		return false, true
	}
	return false, false
}

// StaleLeader reports whether an error code says that the node asked is not, or no more, the leader that the client takes it for.
func StaleLeader(code int16) bool {
	switch code {
	case CodeUnknownTopic, CodeLeaderNotAvailable, CodeNotLeader, CodeFencedLeaderEpoch, CodeUnknownLeaderEpoch:
		return true
	}
	return false
}

// AdminOutcome judges the error code answered to an admin request that changes something. "Already exists" and "unknown
// topic" are true answers about the state, and so ok; codes given by validation or by a node that is not the controller
// surely had no effect; anything else may have reached the log.
func AdminOutcome(code int16) history.Outcome {
	switch code {
	case CodeNone, CodeTopicExists, CodeUnknownTopic:
		return history.OK
	case CodeNotController, CodeInvalidTopic, CodeUnsupportedVersion, CodeInvalidPartitions, CodeInvalidReplication,
		CodeInvalidConfig, CodeInvalidRequest, CodePolicyViolation, CodeThrottlingQuotaAdmin:
		return history.Failed
	}
	return history.Unknown
}

// ReadOutcome judges the error code answered to an admin request that changes nothing. A read that was not answered with
// state says nothing and had no effect: failed.
func ReadOutcome(code int16) history.Outcome {
	switch code {
	case CodeNone, CodeUnknownTopic:
		return history.OK
	}
	return history.Failed
}
