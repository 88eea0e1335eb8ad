// Package api is the table of Kafka requests that the reference broker speaks, by protocol key and version. It is pure:
// broker/core answers ApiVersions from it and broker/wire refuses by it what is not in it, so that what is
// advertised and what is decoded cannot differ.
package api

import "github.com/twmb/franz-go/pkg/kmsg"

// Version is one Kafka request and the versions of it that the broker speaks, both ends included.
type Version struct {
	Key      int16
	Min, Max int16
}

// Versions lists every request that the broker speaks, ascending by key.
//
//   - Produce is advertised from 0: librdkafka takes compression to be unsupported otherwise. Records in a message
//     set (before Produce v3) are answered with an error code by the core. From v13 on topics go by id alone, so 12 is the last.
//   - Fetch begins at 4, the first whose answer may hold record batches, and ends at 14: from 15 on the replica id,
//     and with it the debugging consumer (−2), left the client's part of the request (KIP-903).
//   - DescribeCluster ends at 1: version 2 may ask for brokers that are fenced, which is no state that a broker has here.
//   - ListOffsets begins at 1: version 0 answers with lists of segment starts, which nothing asks for any more.
var Versions = []Version{
	{Key: int16(kmsg.Produce), Min: 0, Max: 12},
	{Key: int16(kmsg.Fetch), Min: 4, Max: 14},
	{Key: int16(kmsg.ListOffsets), Min: 1, Max: 8},
	{Key: int16(kmsg.Metadata), Min: 0, Max: 13},
	{Key: int16(kmsg.ApiVersions), Min: 0, Max: 4},
	{Key: int16(kmsg.CreateTopics), Min: 0, Max: 7},
	{Key: int16(kmsg.DeleteTopics), Min: 0, Max: 6},
	{Key: int16(kmsg.InitProducerID), Min: 0, Max: 5},
	{Key: int16(kmsg.OffsetForLeaderEpoch), Min: 0, Max: 4},
	{Key: int16(kmsg.DescribeConfigs), Min: 0, Max: 4},
	{Key: int16(kmsg.AlterConfigs), Min: 0, Max: 2},
	{Key: int16(kmsg.CreatePartitions), Min: 0, Max: 3},
	{Key: int16(kmsg.ElectLeaders), Min: 0, Max: 2},
	{Key: int16(kmsg.IncrementalAlterConfigs), Min: 0, Max: 1},
	{Key: int16(kmsg.DescribeCluster), Min: 0, Max: 1},
}

// Find returns the table's line of a protocol key.
func Find(key int16) (Version, bool) {
	for _, v := range Versions {
		if v.Key == key {
			return v, true
		}
	}
	return Version{}, false
}

// Supported reports whether the broker speaks a version of a request.
func Supported(key, version int16) bool {
	v, ok := Find(key)
	return ok && v.Min <= version && version <= v.Max
}

// UnsupportedVersion is Kafka's error code for a version that the broker does not speak.
const UnsupportedVersion int16 = 35

// Response answers an ApiVersions request of any version. One that the broker does not speak is answered as Kafka does: by a
// version 0 body with UNSUPPORTED_VERSION and the list, from which the client chooses again (KIP-511).
func Response(version int16) *kmsg.ApiVersionsResponse {
	r := kmsg.NewPtrApiVersionsResponse()
	r.Version = version
	if !Supported(int16(kmsg.ApiVersions), version) {
		r.Version = 0
		r.ErrorCode = UnsupportedVersion
	}
	for _, v := range Versions {
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MinVersion, k.MaxVersion = v.Key, v.Min, v.Max
		r.ApiKeys = append(r.ApiKeys, k)
	}
	return r
}
