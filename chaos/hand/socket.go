package hand

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Bounds of the protocol.
const (
	maxRequest  = 64 << 10         // bytes of a request
	maxReply    = 16 << 20         // bytes of a reply
	maxCallers  = 16               // connections at one time
	requestTime = 5 * time.Second  // for a request to come in, or a reply to go out
	callTime    = 60 * time.Second // for a whole call: a fault waits for its evidence, an end for the nodes
)

// Operations of a request.
const (
	opStatus = "status"
	opFault  = "fault"
	opHeal   = "heal"
	opDown   = "down"
)

// protocol is the version that a request names. An owner of another one refuses it.
const protocol = 1

type request struct {
	V      int               `json:"v"`
	Op     string            `json:"op"`
	Fields map[string]string `json:"fields,omitempty"` // of a fault
	Fault  int               `json:"fault,omitempty"`  // to be healed; 0: all
}

type reply struct {
	Error   string        `json:"error,omitempty"`
	Hint    string        `json:"hint,omitempty"`
	Refused bool          `json:"refused,omitempty"`
	Status  *Status       `json:"status,omitempty"`
	Faults  []FaultStatus `json:"faults,omitempty"`
}

// listen opens the socket and begins to serve. Only the user can reach it: the folder around it is the user's alone, and so is it.
func (h *Hand) listen() (err error) {
	path := filepath.Join(h.info.Home, socketFile)
	if h.socket, err = net.Listen("unix", path); err != nil {
		return fmt.Errorf("opening the cluster's socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return fmt.Errorf("closing the cluster's socket to others: %w", err)
	}
	slots := make(chan struct{}, maxCallers)
	h.serving.Go(func() {
		for {
			conn, err := h.socket.Accept()
			if err != nil {
				return // closed
			}
			select {
			case slots <- struct{}{}:
				h.serving.Go(func() {
					defer func() { <-slots }()
					defer conn.Close()
					h.serve(conn)
				})
			default:
				conn.Close()
			}
		}
	})
	return nil
}

// serve answers one request.
func (h *Hand) serve(conn net.Conn) {
	conn.SetDeadline(time.Now().Add(requestTime))
	var q request
	d := json.NewDecoder(io.LimitReader(conn, maxRequest))
	d.DisallowUnknownFields()
	var r reply
	if err := d.Decode(&q); err != nil {
		r = failed(refused("", "reading the request: %v", err))
	} else {
		r = h.answer(q)
	}
	b, err := json.Marshal(r)
	if err != nil {
		b, _ = json.Marshal(failed(fmt.Errorf("encoding the reply: %w", err)))
	}
	conn.SetDeadline(time.Now().Add(requestTime))
	conn.Write(append(b, '\n')) // a caller that has gone misses its answer
}

func failed(err error) reply {
	r := reply{Error: err.Error()}
	if p := (*Problem)(nil); errors.As(err, &p) {
		r.Hint, r.Refused = p.Hint, p.Refused
	}
	return r
}

func (h *Hand) answer(q request) reply {
	switch {
	case q.V != protocol:
		return failed(refused("take it down with the program that brought it up, or end process "+fmt.Sprint(h.info.PID), "the cluster's owner speaks version %d of the protocol, and not %d", protocol, q.V))
	case q.Op == opDown:
		h.askOnce.Do(func() { close(h.asked) })
		<-h.closed
		if h.closeErr != nil {
			return failed(&Problem{Msg: h.closeErr.Error(), Hint: "soak clean removes what is left"})
		}
		return reply{}
	case h.work.Err() != nil:
		return failed(refused("", "the cluster is being taken down"))
	case q.Op == opStatus:
		s := h.Status(h.work)
		return reply{Status: &s}
	case q.Op == opFault:
		f, err := h.Fault(q.Fields)
		if err != nil {
			return failed(err)
		}
		return reply{Faults: []FaultStatus{f}}
	case q.Op == opHeal:
		fs, err := h.Heal(q.Fault)
		if err != nil {
			r := failed(err)
			r.Faults = fs
			return r
		}
		return reply{Faults: fs}
	}
	return failed(refused("", "unknown request %q", q.Op))
}

// call asks the owner of a cluster.
func call(ctx context.Context, i Info, q request) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", filepath.Join(i.Home, socketFile))
	if err != nil {
		return reply{}, fmt.Errorf("reaching the owner of cluster %s: %w", i.ID, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	q.V = protocol
	b, err := json.Marshal(q)
	if err != nil {
		return reply{}, fmt.Errorf("encoding the request: %w", err)
	}
	if _, err := conn.Write(append(b, '\n')); err != nil {
		return reply{}, fmt.Errorf("asking the owner of cluster %s: %w", i.ID, err)
	}
	var r reply
	if err := json.NewDecoder(bufio.NewReader(io.LimitReader(conn, maxReply))).Decode(&r); err != nil {
		return reply{}, fmt.Errorf("waiting for the answer of cluster %s: %w", i.ID, err)
	}
	if r.Error != "" {
		return r, &Problem{Msg: r.Error, Hint: r.Hint, Refused: r.Refused}
	}
	return r, nil
}

// AskStatus asks a cluster's owner how it stands.
func AskStatus(ctx context.Context, i Info) (Status, error) {
	r, err := call(ctx, i, request{Op: opStatus})
	if err == nil && r.Status == nil {
		err = errors.New("the cluster's owner gave no status")
	}
	if err != nil {
		return Status{}, err
	}
	return *r.Status, nil
}

// AskFault asks for a fault, see Hand.Fault.
func AskFault(ctx context.Context, i Info, fields map[string]string) (FaultStatus, error) {
	r, err := call(ctx, i, request{Op: opFault, Fields: fields})
	if err == nil && len(r.Faults) != 1 {
		err = errors.New("the cluster's owner gave no fault")
	}
	if err != nil {
		return FaultStatus{}, err
	}
	return r.Faults[0], nil
}

// AskHeal asks for the end of a fault, or of all if id is 0. What has ended is given with an error too.
func AskHeal(ctx context.Context, i Info, id int) ([]FaultStatus, error) {
	r, err := call(ctx, i, request{Op: opHeal, Fault: id})
	return r.Faults, err
}

// AskDown asks for the cluster's end, and returns when all of it is gone.
func AskDown(ctx context.Context, i Info) error {
	_, err := call(ctx, i, request{Op: opDown})
	return err
}
