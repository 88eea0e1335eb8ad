package meta

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Command is one entry of the metadata log. Exactly one of the pointers is set.
type Command struct {
	// Who proposed it: an entry's term has one leader, so a different proposer is proof, even offline from the log.
	Proposer     int32
	ProposerTerm uint64
	ProposerBoot uint64
	Attempt      uint64 // dense within (Proposer, ProposerBoot)

	Via   int32  // node that the client's request reached, 0 where there was none
	Cause string // why: "elect", "rebalance", "create_topics", …
	Op    string // id of the client operation behind it, "" if none

	Register  *Register
	Create    *CreateTopic
	Delete    *DeleteTopic
	Alter     *AlterConfigs
	SetLeader *SetLeader
	ChangeISR *ChangeISR
	Producer  *NewProducerID
	Grow      *AddPartitions
}

// Register makes a broker known, or known with a new boot. Live are the brokers that the controller held for live when
// it proposed: another live ISR member takes over what the broker led in its earlier boot.
//
// Unclean is the broker's last boot after which a part of its records may be gone, though they counted as replicated (core.FlushNone, and no orderly
// stop); 0: none. If that boot, or an earlier one, is the registered one, the broker leaves every ISR that has another member.
type Register struct {
	Broker  Broker
	Live    []int32
	Unclean uint64
}

// CreateTopic creates a topic with the placement that the controller chose.
type CreateTopic struct {
	Name       string
	ID         TopicID
	Partitions []NewPartition
	Configs    []Config // ascending key
}

// NewPartition is the first state of a partition.
type NewPartition struct {
	Replicas []int32
	ISR      []int32 // ascending
	Leader   int32
}

// DeleteTopic deletes a topic by name; with an id, only the creation that has it, never a successor of the same name.
type DeleteTopic struct {
	Name string
	ID   TopicID // zero: whatever has the name
}

// AlterConfigs sets and removes configuration values of a topic.
type AlterConfigs struct {
	Name   string
	Set    []Config
	Remove []string
}

// SetLeader (SetPartitionLeader) gives a partition a leader, or none, and the ISR that goes with it.
type SetLeader struct {
	Topic         TopicID
	Name          string // the topic's name as the proposer knew it, for the history
	Partition     int32
	ExpectedEpoch int32 // partition epoch that it was made for
	Leader        int32
	ISR           []int32 // ascending; always holds Leader; unchanged where Leader is NoLeader
}

// ChangeISR changes a partition's ISR under its leader.
type ChangeISR struct {
	Topic         TopicID
	Name          string
	Partition     int32
	ExpectedEpoch int32
	LeaderEpoch   int32
	ISR           []int32 // ascending
}

// AddPartitions gives a topic more partitions, which follow those that it has.
type AddPartitions struct {
	Topic      TopicID
	Name       string // the topic's name as the proposer knew it, for the history
	From       int32  // the number of partitions that it was made for: compared, as partition epochs are elsewhere
	Partitions []NewPartition
}

// NewProducerID takes the next producer id: nobody else ever gets it (KIP-98).
type NewProducerID struct{}

// Names of commands in the history.
const (
	KindRegister  = "register_broker"
	KindCreate    = "create_topic"
	KindDelete    = "delete_topic"
	KindAlter     = "alter_configs"
	KindSetLeader = "set_partition_leader"
	KindChangeISR = "change_isr"
	KindProducer  = "new_producer_id"
	KindGrow      = "add_partitions"
)

// Kind is the command's name in the history.
func (c *Command) Kind() string {
	switch {
	case c.Register != nil:
		return KindRegister
	case c.Create != nil:
		return KindCreate
	case c.Delete != nil:
		return KindDelete
	case c.Alter != nil:
		return KindAlter
	case c.SetLeader != nil:
		return KindSetLeader
	case c.ChangeISR != nil:
		return KindChangeISR
	case c.Producer != nil:
		return KindProducer
	case c.Grow != nil:
		return KindGrow
	}
	return "empty"
}

// Key says what the command is about: a topic's name, "orders-0" for a partition, "broker-2".
func (c *Command) Key() string {
	switch {
	case c.Register != nil:
		return fmt.Sprintf("broker-%d", c.Register.Broker.ID)
	case c.Create != nil:
		return c.Create.Name
	case c.Delete != nil:
		return c.Delete.Name
	case c.Alter != nil:
		return c.Alter.Name
	case c.SetLeader != nil:
		return fmt.Sprintf("%s-%d", c.SetLeader.Name, c.SetLeader.Partition)
	case c.ChangeISR != nil:
		return fmt.Sprintf("%s-%d", c.ChangeISR.Name, c.ChangeISR.Partition)
	case c.Grow != nil:
		return c.Grow.Name
	}
	return ""
}

// ExpectedEpoch is the partition epoch that the command compares with, -1 where it compares none.
func (c *Command) ExpectedEpoch() int32 {
	switch {
	case c.SetLeader != nil:
		return c.SetLeader.ExpectedEpoch
	case c.ChangeISR != nil:
		return c.ChangeISR.ExpectedEpoch
	}
	return -1
}

// The encoding: a version byte, a kind byte, the common fields, then the kind's own. Integers are varints (signed ones
// zig-zag), strings and lists carry their length first. Lengths are checked against what is left before anything is allocated.
const encodingVersion = 1

const (
	tagRegister byte = iota + 1
	tagCreate
	tagDelete
	tagAlter
	tagSetLeader
	tagChangeISR
	tagProducer
	tagGrow

	tagRegisterUnclean byte = 64 // a Register with its Unclean
)

// Encode returns the command's bytes for the log.
func (c *Command) Encode() []byte {
	w := writer{buf: make([]byte, 0, 128)}
	w.byte(encodingVersion)
	switch {
	case c.Register != nil && c.Register.Unclean > 0:
		w.byte(tagRegisterUnclean)
	case c.Register != nil:
		w.byte(tagRegister)
	case c.Create != nil:
		w.byte(tagCreate)
	case c.Delete != nil:
		w.byte(tagDelete)
	case c.Alter != nil:
		w.byte(tagAlter)
	case c.SetLeader != nil:
		w.byte(tagSetLeader)
	case c.ChangeISR != nil:
		w.byte(tagChangeISR)
	case c.Producer != nil:
		w.byte(tagProducer)
	case c.Grow != nil:
		w.byte(tagGrow)
	default:
		panic("meta: encoding a command without content")
	}
	w.i32(c.Proposer)
	w.u64(c.ProposerTerm)
	w.u64(c.ProposerBoot)
	w.u64(c.Attempt)
	w.i32(c.Via)
	w.str(c.Cause)
	w.str(c.Op)
	switch {
	case c.Register != nil:
		w.broker(&c.Register.Broker)
		w.ids(c.Register.Live)
		if c.Register.Unclean > 0 {
			w.u64(c.Register.Unclean)
		}
	case c.Create != nil:
		w.str(c.Create.Name)
		w.raw(c.Create.ID[:])
		w.newPartitions(c.Create.Partitions)
		w.configs(c.Create.Configs)
	case c.Delete != nil:
		w.str(c.Delete.Name)
		w.raw(c.Delete.ID[:])
	case c.Alter != nil:
		w.str(c.Alter.Name)
		w.configs(c.Alter.Set)
		w.u64(uint64(len(c.Alter.Remove)))
		for _, k := range c.Alter.Remove {
			w.str(k)
		}
	case c.SetLeader != nil:
		s := c.SetLeader
		w.raw(s.Topic[:])
		w.str(s.Name)
		w.i32(s.Partition)
		w.i32(s.ExpectedEpoch)
		w.i32(s.Leader)
		w.ids(s.ISR)
	case c.ChangeISR != nil:
		s := c.ChangeISR
		w.raw(s.Topic[:])
		w.str(s.Name)
		w.i32(s.Partition)
		w.i32(s.ExpectedEpoch)
		w.i32(s.LeaderEpoch)
		w.ids(s.ISR)
	case c.Grow != nil:
		w.raw(c.Grow.Topic[:])
		w.str(c.Grow.Name)
		w.i32(c.Grow.From)
		w.newPartitions(c.Grow.Partitions)
	}
	return w.buf
}

// ErrDecode wraps every error of Decode.
var ErrDecode = errors.New("metadata command cannot be decoded")

// Decode reads a command. It never panics and allocates no more than a small multiple of the input's length.
func Decode(b []byte) (*Command, error) {
	r := reader{b: b}
	if v := r.byte(); r.err == nil && v != encodingVersion {
		return nil, fmt.Errorf("%w: encoding version %d, this version reads %d", ErrDecode, v, encodingVersion)
	}
	tag := r.byte()
	c := &Command{
		Proposer: r.i32(), ProposerTerm: r.u64(), ProposerBoot: r.u64(), Attempt: r.u64(),
		Via: r.i32(), Cause: r.str(), Op: r.str(),
	}
	switch tag {
	case tagRegister:
		c.Register = &Register{Broker: r.broker(), Live: r.ids()}
	case tagRegisterUnclean:
		c.Register = &Register{Broker: r.broker(), Live: r.ids(), Unclean: r.u64()}
	case tagCreate:
		c.Create = &CreateTopic{Name: r.str(), ID: r.topicID(), Partitions: r.newPartitions(), Configs: r.configs()}
	case tagDelete:
		c.Delete = &DeleteTopic{Name: r.str(), ID: r.topicID()}
	case tagAlter:
		a := &AlterConfigs{Name: r.str(), Set: r.configs()}
		for n := r.count(1); n > 0 && r.err == nil; n-- {
			a.Remove = append(a.Remove, r.str())
		}
		c.Alter = a
	case tagSetLeader:
		c.SetLeader = &SetLeader{Topic: r.topicID(), Name: r.str(), Partition: r.i32(), ExpectedEpoch: r.i32(), Leader: r.i32(), ISR: r.ids()}
	case tagChangeISR:
		c.ChangeISR = &ChangeISR{Topic: r.topicID(), Name: r.str(), Partition: r.i32(), ExpectedEpoch: r.i32(), LeaderEpoch: r.i32(), ISR: r.ids()}
	case tagProducer:
		c.Producer = &NewProducerID{}
	case tagGrow:
		c.Grow = &AddPartitions{Topic: r.topicID(), Name: r.str(), From: r.i32(), Partitions: r.newPartitions()}
	default:
		r.fail(fmt.Sprintf("unknown kind %d", tag))
	}
	if r.err == nil && len(r.b) > 0 {
		r.fail(fmt.Sprintf("%d bytes behind its end", len(r.b)))
	}
	if r.err != nil {
		return nil, r.err
	}
	return c, nil
}

type writer struct{ buf []byte }

func (w *writer) byte(b byte)  { w.buf = append(w.buf, b) }
func (w *writer) raw(b []byte) { w.buf = append(w.buf, b...) }
func (w *writer) u64(v uint64) { w.buf = binary.AppendUvarint(w.buf, v) }
func (w *writer) i32(v int32)  { w.buf = binary.AppendVarint(w.buf, int64(v)) }
func (w *writer) str(s string) { w.u64(uint64(len(s))); w.buf = append(w.buf, s...) }
func (w *writer) ids(ids []int32) {
	w.u64(uint64(len(ids)))
	for _, id := range ids {
		w.i32(id)
	}
}
func (w *writer) newPartitions(ps []NewPartition) {
	w.u64(uint64(len(ps)))
	for _, p := range ps {
		w.ids(p.Replicas)
		w.ids(p.ISR)
		w.i32(p.Leader)
	}
}
func (w *writer) configs(cs []Config) {
	w.u64(uint64(len(cs)))
	for _, c := range cs {
		w.str(c.Key)
		w.str(c.Value)
	}
}
func (w *writer) broker(b *Broker) {
	w.i32(b.ID)
	w.u64(b.Boot)
	w.str(b.Host)
	w.i32(b.Port)
}

type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(why string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrDecode, why)
	}
	r.b = nil
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.fail("it ends early")
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u64() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail("it ends early")
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) i32() int32 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail("it ends early")
		return 0
	}
	if v != int64(int32(v)) {
		r.fail("a number is out of range")
		return 0
	}
	r.b = r.b[n:]
	return int32(v)
}

// count reads a list's length whose elements take at least size bytes each.
func (r *reader) count(size int) int {
	v := r.u64()
	if v > uint64(len(r.b)/size) {
		r.fail("a list is longer than what is left")
		return 0
	}
	return int(v)
}

func (r *reader) str() string { return string(r.take(r.count(1))) }

func (r *reader) ids() []int32 {
	n := r.count(1)
	if n == 0 {
		return nil
	}
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = r.i32()
	}
	return ids
}

func (r *reader) newPartitions() (ps []NewPartition) {
	for n := r.count(3); n > 0 && r.err == nil; n-- {
		ps = append(ps, NewPartition{Replicas: r.ids(), ISR: r.ids(), Leader: r.i32()})
	}
	return ps
}

func (r *reader) configs() []Config {
	n := r.count(2)
	if n == 0 {
		return nil
	}
	cs := make([]Config, n)
	for i := range cs {
		cs[i] = Config{Key: r.str(), Value: r.str()}
	}
	return cs
}

func (r *reader) topicID() (id TopicID) {
	copy(id[:], r.take(len(id)))
	return id
}

func (r *reader) broker() Broker {
	return Broker{ID: r.i32(), Boot: r.u64(), Host: r.str(), Port: r.i32()}
}
