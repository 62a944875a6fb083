package machines

import (
	"context"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"virtls/internal/watch"
)

// A Store has the newest good list of machines. It may be used by any number of goroutines.
type Store struct {
	path    string
	used    Used
	check   func(Machine) error
	reload  sync.Mutex // what is read last counts
	current atomic.Pointer[List]
}

// Open reads the machines at path: see [Load].
func Open(path string, used Used, check func(Machine) error) (*Store, error) {
	s := &Store{path: path, used: used, check: check}
	return s, s.Reload()
}

// Path returns where the machines are read from.
func (s *Store) Path() string { return s.path }

// Used returns where it is kept which tokens were used.
func (s *Store) Used() Used { return s.used }

// Current returns the newest good list.
func (s *Store) Current() *List { return s.current.Load() }

// Reload reads the files anew. If they are bad the old list stays, and the error
// says why.
func (s *Store) Reload() error {
	s.reload.Lock()
	defer s.reload.Unlock()
	l, err := Load(s.path, s.check)
	if err == nil {
		s.current.Store(l)
	}
	return err
}

// Watch reads the files anew at its start, because they may have changed, and
// whenever they change, until ctx ends; then it returns. report learns the
// outcome of each time.
func (s *Store) Watch(ctx context.Context, report func(error)) {
	for ctx.Err() == nil {
		// Which files there are may change, and with it what must be watched.
		w := watch.New(s.watched()...)
		if err := s.Reload(); ctx.Err() == nil {
			report(err)
		}
		again, changed := context.WithCancel(ctx)
		w.Run(again, changed)
		changed()
	}
}

func (s *Store) watched() []string {
	// A name inside has a directory watched that has no file yet.
	names := []string{s.path, filepath.Join(s.path, "new.yaml")}
	files, err := Files(s.path)
	if err == nil {
		names = append(names, files...)
	}
	for _, t := range s.Current().tokens {
		if t.File != "" {
			names = append(names, t.File)
		}
	}
	return names
}

// Valid tells whether a token opens a machine, and does not use it up. For the
// empty name it is the machine that the token is for; its name is returned.
func (s *Store) Valid(machine, token string, now time.Time) (string, error) {
	t, err := s.Current().find(machine, token, now)
	if err == nil && t.Once {
		err = s.used.check(t)
	}
	if err != nil {
		return "", err
	}
	return t.Machine, nil
}

// Use is Valid for who goes on to see the machine: a token that may be used once
// is used then, whatever is reloaded.
func (s *Store) Use(machine, token string, now time.Time) (string, error) {
	t, err := s.Current().find(machine, token, now)
	if err == nil && t.Once {
		err = s.used.use(t, now)
	}
	if err != nil {
		return "", err
	}
	return t.Machine, nil
}
