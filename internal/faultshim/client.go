package faultshim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// ErrGone is wrapped by the answer about a fault that is not there: it was ended, or its lease was.
var ErrGone = errors.New("the shim does not have the fault")

// Client is the run's side, for one life of a node.
type Client struct{ http http.Client }

// NewClient makes a client that reaches the node's admin port by dial.
func NewClient(dial func(ctx context.Context) (net.Conn, error)) *Client {
	return &Client{http.Client{Transport: &http.Transport{
		DialContext:     func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		MaxConnsPerHost: 4, MaxIdleConnsPerHost: 2, MaxResponseHeaderBytes: 16 << 10,
	}}}
}

// Close closes connections that wait for use.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Set brings a fault about; the probe met it.
func (c *Client) Set(ctx context.Context, f Fault) (p Probe, err error) {
	return p, c.ask(ctx, http.MethodPost, pathSet, f, &p)
}

// Renew renews the lease of a fault. ErrGone: there is none.
func (c *Client) Renew(ctx context.Context, id int) (s Status, err error) {
	return s, c.ask(ctx, http.MethodPost, pathRenew, which{id}, &s)
}

// End ends a fault. ErrGone: there is none.
func (c *Client) End(ctx context.Context, id int) (s Status, err error) {
	return s, c.ask(ctx, http.MethodPost, pathEnd, which{id}, &s)
}

// Status lists the faults that there are.
func (c *Client) Status(ctx context.Context) (all []Status, err error) {
	return all, c.ask(ctx, http.MethodGet, pathStatus, nil, &all)
}

// Probe has the node look at its disk.
func (c *Client) Probe(ctx context.Context) (p Probe, err error) {
	return p, c.ask(ctx, http.MethodPost, pathProbe, struct{}{}, &p)
}

// LosePower takes the power from the node. It is gone when the answer is there.
func (c *Client) LosePower(ctx context.Context, cut PowerCut) (l Loss, err error) {
	return l, c.ask(ctx, http.MethodPost, pathPower, cut, &l)
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 10

func (c *Client) ask(ctx context.Context, method, path string, what, into any) error {
	var body io.Reader
	if what != nil {
		b, err := json.Marshal(what)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://127.0.0.1"+path, body)
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := c.http.Do(r)
	if err != nil {
		return fmt.Errorf("asking the fault shim: %w", err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	switch {
	case answer.StatusCode == http.StatusNotFound && strings.HasPrefix(string(b), "there is no fault"):
		return fmt.Errorf("asking the fault shim: %w", ErrGone)
	case answer.StatusCode != http.StatusOK:
		return fmt.Errorf("asking the fault shim: %s: %s", answer.Status, strings.TrimSpace(string(b)))
	case err != nil:
		return fmt.Errorf("reading the fault shim's answer: %w", err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("reading the fault shim's answer: %w", err)
	}
	return nil
}
