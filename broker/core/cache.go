package core

import (
	"slices"
	"sort"
)

const (
	maxCacheReplica = 1 << 20  // bytes of recent batches that a replica keeps in memory
	maxCacheTotal   = 64 << 20 // bytes of all replicas, shared evenly
	minCacheReplica = 64 << 10 // a replica's share however many there are
)

// cacheLimit is a replica's present share of the cache, in bytes.
func (n *Node) cacheLimit() int {
	return min(maxCacheReplica, max(minCacheReplica, maxCacheTotal/max(1, len(n.repl.order))))
}

// cache holds the newest batches of a log without a gap up to its end: followers and consumers at the tail are served from
// it. What is not on disk yet is never evicted, so that every offset is either in here or on disk.
type cache struct {
	batches []cachedBatch
	bytes   int
}

// cachedBatch is one batch; its bytes are shared with disk operations and answers and never changed.
type cachedBatch struct {
	base, next int64
	data       []byte
}

func (c *cache) add(base, next int64, data []byte) {
	c.batches = append(c.batches, cachedBatch{base, next, data})
	c.bytes += len(data)
}

// truncate forgets the batches from offset to on.
func (c *cache) truncate(to int64) {
	for len(c.batches) > 0 && c.batches[len(c.batches)-1].next > to {
		last := len(c.batches) - 1
		c.bytes -= len(c.batches[last].data)
		c.batches[last] = cachedBatch{}
		c.batches = c.batches[:last]
	}
}

// evict forgets the oldest batches until at most limit bytes are left, but none that is not durable.
func (c *cache) evict(limit int, durable int64) {
	for len(c.batches) > 0 && c.bytes > limit && c.batches[0].next <= durable {
		c.bytes -= len(c.batches[0].data)
		c.batches[0] = cachedBatch{}
		c.batches = c.batches[1:]
	}
}

// find returns the index of the batch that holds offset, false if it is not cached.
func (c *cache) find(offset int64) (int, bool) {
	i := sort.Search(len(c.batches), func(i int) bool { return c.batches[i].next > offset })
	return i, i < len(c.batches) && c.batches[i].base <= offset
}

// size is how many bytes the batches from the one that holds offset up to limit have, as far as it matters whether they
// are at least enough. cached is false if the first of them is not here.
func (c *cache) size(offset, limit int64, enough int) (bytes int, cached bool) {
	i, ok := c.find(offset)
	for ; ok && i < len(c.batches) && c.batches[i].base < limit && bytes < enough; i++ {
		bytes += len(c.batches[i].data)
	}
	return bytes, ok
}

// read returns whole batches from the one that holds offset on, all below limit, at most maxBytes but, where first is
// set, at least one. cached is false if they are not here.
func (c *cache) read(offset, limit int64, maxBytes int, first bool) (data []byte, cached bool) {
	i, ok := c.find(offset)
	if !ok {
		return nil, false
	}
	var parts [][]byte
	total := 0
	for ; i < len(c.batches) && c.batches[i].base < limit; i++ {
		b := c.batches[i].data
		if total+len(b) > maxBytes && !(first && total == 0) {
			break
		}
		parts = append(parts, b)
		total += len(b)
	}
	if len(parts) == 1 {
		return parts[0], true
	}
	return slices.Concat(parts...), true
}
