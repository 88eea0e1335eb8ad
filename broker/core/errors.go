package core

// Kafka error codes that the core answers with.
const (
	errNone                    int16 = 0
	errUnknownServer           int16 = -1
	errOffsetOutOfRange        int16 = 1
	errCorruptMessage          int16 = 2
	errUnknownTopicOrPartition int16 = 3
	errLeaderNotAvailable      int16 = 5
	errNotLeader               int16 = 6 // NOT_LEADER_OR_FOLLOWER
	errRequestTimedOut         int16 = 7
	errMessageTooLarge         int16 = 10
	errCoordinatorLoading      int16 = 14
	errInvalidTopic            int16 = 17
	errNotEnoughReplicas       int16 = 19
	errNotEnoughAfterAppend    int16 = 20
	errInvalidRequiredAcks     int16 = 21
	errUnsupportedVersion      int16 = 35
	errTopicExists             int16 = 36
	errInvalidPartitions       int16 = 37
	errInvalidReplication      int16 = 38
	errInvalidAssignment       int16 = 39
	errInvalidConfig           int16 = 40
	errNotController           int16 = 41
	errInvalidRequest          int16 = 42
	errUnsupportedForFormat    int16 = 43
	errPreferredUnavailable    int16 = 80 // PREFERRED_LEADER_NOT_AVAILABLE
	errElectionNotNeeded       int16 = 84
	errUnsupportedEndpoint     int16 = 115
	errFencedLeaderEpoch       int16 = 74
	errUnknownLeaderEpoch      int16 = 75
	errStaleBrokerEpoch        int16 = 77
	errInvalidUpdateVersion    int16 = 95
	errUnknownTopicID          int16 = 100
	errIneligibleReplica       int16 = 107
)
