package validate

import (
	"errors"
	"io/fs"

	"virtls/creds"
	"virtls/layout"
	"virtls/layout/access"
)

// A cache is a host's files that are looked at once, however many releases
// are asked about them. It notes what this process may not see although the
// consumer might.
type cache struct {
	layout.View
	stats map[string]stat
	files map[string]content
	blind map[string]bool
	loads *creds.Cache // what was read and verified through this view
}

type stat struct {
	info fs.FileInfo
	err  error
}

type content struct {
	data []byte
	err  error
}

func newCache(v layout.View) *cache {
	return &cache{v, map[string]stat{}, map[string]content{}, map[string]bool{}, creds.NewCache()}
}

// Stat implements layout.View.
func (c *cache) Stat(name string) (fs.FileInfo, error) {
	s, ok := c.stats[name]
	if !ok {
		s.info, s.err = c.View.Stat(name)
		c.stats[name] = s
		c.notice(name, s.err)
	}
	return s.info, s.err
}

// ReadFile implements layout.View.
func (c *cache) ReadFile(name string) ([]byte, error) {
	f, ok := c.files[name]
	if !ok {
		f.data, f.err = c.View.ReadFile(name)
		c.files[name] = f
		c.notice(name, f.err)
	}
	return f.data, f.err
}

// notice notes a file that the process itself may not see: the consumer's own
// lack of rights is a Denial.
func (c *cache) notice(name string, err error) {
	var denial *access.Denial
	if errors.Is(err, fs.ErrPermission) && !errors.As(err, &denial) {
		c.blind[name] = true
	}
}

// exists tells whether there is something of that name.
func (c *cache) exists(name string) bool {
	if name == "" {
		return false
	}
	_, err := c.Stat(name)
	return err == nil
}

// isDir tells whether there is a directory of that name.
func (c *cache) isDir(name string) bool {
	info, err := c.Stat(name)
	return err == nil && info.IsDir()
}
