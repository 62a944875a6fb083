package qcow2

import (
	"container/list"
	"sync"
)

// CacheSize bounds what the images of a chain keep together: slices of L2
// tables and decompressed clusters, in bytes.
const CacheSize = 16 << 20

// A cache holds immutable blocks of the images of a chain, the most recently
// used ones.
type cache struct {
	mu     sync.Mutex
	blocks map[cacheKey]*list.Element
	recent list.List // of *cacheBlock, most recently used first
	size   int
}

type cacheKey struct {
	image *Image
	entry uint64 // where the block lies: an offset, or a compressed cluster's descriptor
}

type cacheBlock struct {
	key  cacheKey
	data []byte
}

func newCache() *cache {
	return &cache{blocks: map[cacheKey]*list.Element{}}
}

// get returns a block, made by load if it is not there. Two that ask for the
// same block at the same time may both load it. Nobody may change the result.
func (c *cache) get(key cacheKey, load func() ([]byte, error)) ([]byte, error) {
	if data, ok := c.lookup(key); ok {
		return data, nil
	}
	data, err := load()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.blocks[key]; ok {
		return e.Value.(*cacheBlock).data, nil
	}
	c.blocks[key] = c.recent.PushFront(&cacheBlock{key, data})
	c.size += len(data)
	for c.size > CacheSize {
		last := c.recent.Back()
		block := c.recent.Remove(last).(*cacheBlock)
		delete(c.blocks, block.key)
		c.size -= len(block.data)
	}
	return data, nil
}

func (c *cache) lookup(key cacheKey) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.blocks[key]
	if !ok {
		return nil, false
	}
	c.recent.MoveToFront(e)
	return e.Value.(*cacheBlock).data, true
}
