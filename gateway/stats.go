package gateway

import (
	"sync"
	"sync/atomic"
	"time"
)

// stats count what a gateway did.
type stats struct {
	accepted atomic.Int64
	up, down atomic.Int64 // octets from and to clients

	mu         sync.Mutex
	refused    map[string]int64 // by the code of the finding
	handshakes int64
	seconds    float64 // all of them took
}

func (s *stats) refuse(code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused == nil {
		s.refused = map[string]int64{}
	}
	s.refused[code]++
}

func (s *stats) handshake(took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handshakes++
	s.seconds += took.Seconds()
}
