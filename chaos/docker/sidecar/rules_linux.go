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
// counts, and drops or not. The rule's name for reports is in its user data.
type ruleset struct {
	conn  nftables.Conn
	table *nftables.Table // nil while there is none
}

func (r *ruleset) set(c Cut, drop bool) error {
	table := &nftables.Table{Name: c.Table, Family: nftables.TableFamilyIPv4}
	if r.table != nil {
		r.conn.DelTable(r.table) // in one batch with what follows: there is no moment without rules
	}
	r.conn.CreateTable(table) // fails if somebody else has it
	in := r.chain(table, "in", nftables.ChainHookInput)
	out := r.chain(table, "out", nftables.ChainHookOutput)
	for name, addr := range c.Peers {
		const source, destination = 12, 16 // offsets in the IPv4 header (RFC 791)
		r.rule(in, "in "+name, address(source, addr), drop)
		r.rule(out, "out "+name, address(destination, addr), drop)
	}
	if c.Others {
		r.rule(in, "in others", notLoopback(expr.MetaKeyIIFNAME), drop)
		r.rule(out, "out others", notLoopback(expr.MetaKeyOIFNAME), drop)
	}
	if err := r.conn.Flush(); err != nil {
		return fmt.Errorf("writing table %s: %w", c.Table, err) // a batch is all or nothing
	}
	r.table = table
	return nil
}

func (r *ruleset) chain(table *nftables.Table, name string, hook *nftables.ChainHook) *nftables.Chain {
	return r.conn.AddChain(&nftables.Chain{
		Name: name, Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: hook, Priority: nftables.ChainPriorityFilter,
	})
}

// rule ends the packet's way through the chain either way, so that each packet counts once.
func (r *ruleset) rule(chain *nftables.Chain, name string, match []expr.Any, drop bool) {
	verdict := expr.VerdictAccept
	if drop {
		verdict = expr.VerdictDrop
	}
	r.conn.AddRule(&nftables.Rule{
		Table: chain.Table, Chain: chain, UserData: []byte(name),
		Exprs: append(match, &expr.Counter{}, &expr.Verdict{Kind: verdict}),
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

func (r *ruleset) packets() (map[string]int64, error) {
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
