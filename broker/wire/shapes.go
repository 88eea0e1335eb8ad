package wire

import "github.com/twmb/franz-go/pkg/kmsg"

// Every body that a broker reads, in the order of its fields, as Kafka's message definitions (and kmsg after them) have them.
// A test fills each kmsg type, encodes it in every version read, and requires the walk to end on the last byte.

// requestShapes are what clients send, and what brokers forward.
var requestShapes = map[int16]shape{
	int16(kmsg.Produce): body(9,
		since(3, str), i16, i32,
		arr(str, arr(i32, byts))),
	int16(kmsg.Fetch): body(12,
		until(14, i32), i32, i32, since(3, i32), since(4, i8), since(7, i32), since(7, i32),
		arr(until(12, str), since(13, id),
			arr(i32, since(9, i32), i64, since(12, i32), since(5, i64), i32, tagged(0, id), tagged(1, i64))),
		since(7, arr(until(12, str), since(13, id), plain(4))),
		since(11, str),
		tagged(0, str), tagged(1, structure(i32, i64))),
	int16(kmsg.ListOffsets): body(6,
		i32, since(2, i8),
		arr(str, arr(i32, since(4, i32), i64, until(0, i32))),
		since(10, i32)),
	int16(kmsg.Metadata): body(9,
		arr(since(10, id), str),
		since(4, i8), since(8, until(10, i8)), since(8, i8)),
	int16(kmsg.ApiVersions): body(3,
		since(3, str), since(3, str)),
	int16(kmsg.CreateTopics): body(5,
		arr(str, i32, i16, arr(i32, plain(4)), arr(str, str)),
		i32, since(1, i8)),
	int16(kmsg.DeleteTopics): body(4,
		until(5, plain(0)), since(6, arr(str, id)), i32),
	int16(kmsg.OffsetForLeaderEpoch): body(4,
		since(3, i32),
		arr(str, arr(i32, since(2, i32), i32))),
	int16(kmsg.DescribeConfigs): body(4,
		arr(i8, str, plain(0)),
		since(1, i8), since(3, i8)),
	int16(kmsg.IncrementalAlterConfigs): body(1,
		arr(i8, str, arr(str, i8, str)), i8),
	int16(kmsg.AlterPartition): body(0,
		i32, i64,
		arr(until(1, str), since(2, id),
			arr(i32, i32, until(2, plain(4)), since(3, arr(i32, i64)), since(1, i8), i32))),
	int16(kmsg.BrokerRegistration): body(0,
		i32, str, id,
		arr(str, str, i16, i16), arr(str, i16, i16),
		str, since(1, i8), since(2, plain(16)), since(3, i64)),
}

// responseShapes are what brokers answer each other.
var responseShapes = map[int16]shape{
	int16(kmsg.Fetch): body(12,
		since(1, i32), since(7, i16), since(7, i32),
		arr(until(12, str), since(13, id),
			arr(i32, i16, i64, since(4, i64), since(5, i64), since(4, arr(i64, i64)), since(11, i32), byts,
				tagged(0, structure(i32, i64)), tagged(1, structure(i32, i32)), tagged(2, structure(i64, i32)))),
		tagged(0, arr(i32, str, i32, str))),
	int16(kmsg.CreateTopics): body(5,
		since(2, i32),
		arr(str, since(7, id), i16, since(1, str), since(5, i32), since(5, i16), since(5, arr(str, str, i8, i8, i8)), tagged(0, i16))),
	int16(kmsg.DeleteTopics): body(4,
		since(1, i32),
		arr(str, since(6, id), i16, since(5, str))),
	int16(kmsg.IncrementalAlterConfigs): body(1,
		i32, arr(i16, str, i8, str)),
	int16(kmsg.AlterPartition): body(0,
		i32, i16,
		arr(until(1, str), since(2, id), arr(i32, i16, i32, i32, plain(4), since(1, i8), i32))),
	int16(kmsg.BrokerRegistration): body(0,
		i32, i16, i64),
}
