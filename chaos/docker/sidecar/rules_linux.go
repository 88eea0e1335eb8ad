package sidecar

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"
)

// newRules works on the network namespace that the process is in.
func newRules() rules { return &ruleset{} }

// ruleset is one nftables table: a chain for what comes in and one for what goes out, and in each a rule a peer that
// counts, and drops or not. The rule's name for reports is in its user data.
type ruleset struct {
	conn  nftables.Conn
	table *nftables.Table     // nil while there is none
	now   map[string]expr.Any // by chain and rule: how each rule ends, of those that are set
	old   bool                // the kernel has no expression to hand packets over by: see handOver
}

func (r *ruleset) set(c Cut, drop bool) error {
	err := r.write(c, drop)
	if c.shapes() && !r.old && errors.Is(err, fs.ErrNotExist) { // so it says of an expression that it does not know
		r.old = true
		err = r.write(c, drop)
	}
	return err
}

func (r *ruleset) write(c Cut, drop bool) error {
	table := &nftables.Table{Name: c.Table, Family: nftables.TableFamilyIPv4}
	if r.table != nil {
		// In one batch with what follows: there is no moment without rules. The chains stay, for a chain that goes takes packets along that any
		// sidecar in the namespace keeps.
		r.conn.FlushTable(r.table)
	} else {
		r.conn.CreateTable(table) // fails if somebody else has it
	}
	now := map[string]expr.Any{}
	for way, hook := range map[string]*nftables.ChainHook{In: nftables.ChainHookInput, Out: nftables.ChainHookOutput} {
		if !c.has(way) && !c.hasOthers(way) {
			continue
		}
		chain := &nftables.Chain{Name: way, Table: table}
		if r.table == nil {
			chain = r.chain(table, way, hook)
		}
		put := func(name string, match []expr.Any, drop bool) {
			end := r.rule(chain, way+" "+name, match, c, drop)
			now[way+" "+name] = end
		}
		const source, destination = 12, 16 // offsets in the IPv4 header (RFC 791)
		at, iface := uint32(source), expr.MetaKeyIIFNAME
		if way == Out {
			at, iface = destination, expr.MetaKeyOIFNAME
		}
		for name, addr := range c.Peers {
			if c.has(way) {
				put(name, address(at, addr), drop)
			} else {
				put(spared+name, address(at, addr), false)
			}
		}
		for name, addr := range c.Spare {
			put(spared+name, address(at, addr), false)
		}
		if c.hasOthers(way) {
			put("others", notLoopback(iface), drop)
		}
	}
	if err := r.conn.Flush(); err != nil {
		return fmt.Errorf("writing table %s: %w", c.Table, err) // a batch is all or nothing
	}
	r.table, r.now = table, now
	return nil
}

// spared marks the rules of peers that are let alone; they are no part of the report.
const spared = "spared "

func (r *ruleset) chain(table *nftables.Table, name string, hook *nftables.ChainHook) *nftables.Chain {
	return r.conn.AddChain(&nftables.Chain{
		Name: name, Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: hook, Priority: nftables.ChainPriorityFilter,
	})
}

// rule ends the way of each packet through the chain that it is about, so that each counts once; how it ends it is the answer. Of a share
// that is dropped only what is dropped counts, and the others go on.
func (r *ruleset) rule(chain *nftables.Chain, name string, match []expr.Any, c Cut, drop bool) (end expr.Any) {
	end = &expr.Verdict{Kind: expr.VerdictAccept}
	switch {
	case drop && c.shapes():
		end = handOver(c.Queue, r.old)
	case drop && c.Reset:
		match = append(match, tcpButResets()...)
		end = &expr.Reject{Type: unix.NFT_REJECT_TCP_RST}
	case drop:
		end = &expr.Verdict{Kind: expr.VerdictDrop}
		if c.PPM > 0 {
			match = append(match, oneIn(c.PPM)...)
		}
	}
	r.conn.AddRule(&nftables.Rule{
		Table: chain.Table, Chain: chain, UserData: []byte(name),
		Exprs: append(match, &expr.Counter{}, end),
	})
	return end
}

// handOver hands a packet over to whoever has bound the queue, and lets it pass where nobody has. Some kernels cannot say so in nftables' own
// words, but have the target of iptables, which rules may use.
func handOver(queue uint16, old bool) expr.Any {
	if !old {
		return &expr.Queue{Num: queue, Flag: expr.QueueFlagBypass}
	}
	const queues, bypass = 1, 1
	info := binary.NativeEndian.AppendUint16(nil, queue) // struct xt_NFQ_info_v3
	info = binary.NativeEndian.AppendUint16(info, queues)
	info = binary.NativeEndian.AppendUint16(info, bypass)
	unknown := xt.Unknown(append(info, 0, 0)) // structures of extensions are padded to 8 bytes
	return &expr.Target{Name: "NFQUEUE", Rev: 3, Info: &unknown}
}

// tcpButResets matches TCP packets without the flag RST (RFC 9293): the resets that the rules bring about must pass them.
func tcpButResets() []expr.Any {
	const flags, rst = 13, 0x04 // offset in the TCP header, and the flag
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: flags, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{rst}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{0}},
	}
}

// oneIn matches so many millionths of the packets, by the kernel's random numbers. Comparisons are of bytes in network order.
func oneIn(ppm int64) []expr.Any {
	return []expr.Any{
		&expr.Numgen{Register: 1, Modulus: 1_000_000, Type: unix.NFT_NG_RANDOM},
		&expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 4, Size: 4},
		&expr.Cmp{Op: expr.CmpOpLt, Register: 1, Data: binary.BigEndian.AppendUint32(nil, uint32(ppm))},
	}
}

// notLoopback matches packets of any interface but lo. Interface names are compared in the kernel's 16 bytes.
func notLoopback(key expr.MetaKey) []expr.Any {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, "lo")
	return []expr.Any{
		&expr.Meta{Key: key, Register: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: name},
	}
}

// address matches an IPv4 address at an offset of the network header.
func address(offset uint32, a netip.Addr) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: a.AsSlice()},
	}
}

func (r *ruleset) packets() (map[string]int64, error) {
	counts := map[string]int64{}
	missing := maps.Clone(r.now)
	for _, name := range []string{In, Out} {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(r.now)), func(rule string) bool { return strings.HasPrefix(rule, name+" ") }) {
			continue // no chain of that way
		}
		found, err := r.conn.GetRules(r.table, &nftables.Chain{Name: name, Table: r.table})
		if err != nil {
			return nil, fmt.Errorf("listing the rules of chain %s: %w", name, err)
		}
		for _, rule := range found {
			is := string(rule.UserData)
			if len(rule.Exprs) > 0 && sameEnd(rule.Exprs[len(rule.Exprs)-1], r.now[is]) {
				delete(missing, is)
			}
			for _, e := range rule.Exprs {
				if c, ok := e.(*expr.Counter); ok && !strings.HasPrefix(is, name+" "+spared) {
					counts[is] = int64(c.Packets)
				}
			}
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("somebody has changed table %s: the rule %q is not as it was set", r.table.Name, slices.Sorted(maps.Keys(missing))[0])
	}
	return counts, nil
}

// sameEnd reports whether a rule read back ends packets' way as the one that was set.
func sameEnd(read, set expr.Any) bool {
	switch set := set.(type) {
	case *expr.Verdict:
		v, ok := read.(*expr.Verdict)
		return ok && v.Kind == set.Kind
	case *expr.Reject:
		_, ok := read.(*expr.Reject)
		return ok
	case *expr.Queue:
		q, ok := read.(*expr.Queue)
		return ok && q.Num == set.Num
	case *expr.Target:
		t, ok := read.(*expr.Target)
		return ok && t.Name == set.Name
	}
	return false
}

func (r *ruleset) remove() error {
	if r.table == nil {
		return nil
	}
	r.conn.DelTable(r.table)
	if err := r.conn.Flush(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing table %s: %w", r.table.Name, err)
	}
	left, err := r.conn.ListTablesOfFamily(r.table.Family)
	if err != nil {
		return fmt.Errorf("making sure that table %s is gone: %w", r.table.Name, err)
	}
	for _, t := range left {
		if t.Name == r.table.Name {
			return fmt.Errorf("table %s is still there", t.Name)
		}
	}
	r.table = nil
	return nil
}
