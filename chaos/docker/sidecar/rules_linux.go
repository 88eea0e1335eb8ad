package sidecar

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// newRules works on the network namespace that the process is in.
func newRules() rules { return &ruleset{} }

// ruleset is one nftables table: a chain for what comes in and one for what goes out, and in each a rule a peer that
// counts and drops. The rule's name for reports is in its user data.
type ruleset struct {
	conn  nftables.Conn
	table *nftables.Table
}

func (r *ruleset) set(c Cut) error {
	family := nftables.TableFamilyIPv4
	if c.All {
		family = nftables.TableFamilyINet // IPv6 is cut as well
	}
	r.table = &nftables.Table{Name: c.Table, Family: family}
	r.conn.CreateTable(r.table) // fails if somebody has it
	in := r.chain("in", nftables.ChainHookInput)
	out := r.chain("out", nftables.ChainHookOutput)
	if c.All {
		r.drop(in, "in", notLoopback(expr.MetaKeyIIFNAME))
		r.drop(out, "out", notLoopback(expr.MetaKeyOIFNAME))
	}
	for name, addr := range c.Peers {
		const source, destination = 12, 16 // offsets in the IPv4 header (RFC 791)
		r.drop(in, "in "+name, address(source, addr))
		r.drop(out, "out "+name, address(destination, addr))
	}
	if err := r.conn.Flush(); err != nil {
		table := r.table
		r.table = nil // the batch is all or nothing: there is nothing of ours to remove
		return fmt.Errorf("creating table %s: %w", table.Name, err)
	}
	return nil
}

func (r *ruleset) chain(name string, hook *nftables.ChainHook) *nftables.Chain {
	return r.conn.AddChain(&nftables.Chain{
		Name: name, Table: r.table, Type: nftables.ChainTypeFilter,
		Hooknum: hook, Priority: nftables.ChainPriorityFilter,
	})
}

func (r *ruleset) drop(chain *nftables.Chain, name string, match []expr.Any) {
	r.conn.AddRule(&nftables.Rule{
		Table: r.table, Chain: chain, UserData: []byte(name),
		Exprs: append(match, &expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop}),
	})
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

func (r *ruleset) dropped() (map[string]int64, error) {
	counts := map[string]int64{}
	for _, name := range []string{"in", "out"} {
		found, err := r.conn.GetRules(r.table, &nftables.Chain{Name: name, Table: r.table})
		if err != nil {
			return nil, fmt.Errorf("listing the rules of chain %s: %w", name, err)
		}
		for _, rule := range found {
			for _, e := range rule.Exprs {
				if c, ok := e.(*expr.Counter); ok {
					counts[string(rule.UserData)] = int64(c.Packets)
				}
			}
		}
	}
	return counts, nil
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
