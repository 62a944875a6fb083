package nbd_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"virtls/creds"
	"virtls/proto/nbd"
)

// TestIntegrity makes random requests over several connections, each with a
// region of its own, and compares what is read with a model: 10,000 requests, and
// a million in the full matrix.
func TestIntegrity(t *testing.T) {
	const connections, region = 4, 1 << 20
	total := 10_000
	if os.Getenv("VIRTLS_INTEROP") == "full" {
		total = 1_000_000
	}
	path, content := rawFile(t, connections*region)
	s := securities[1]
	port := serve(t, &nbd.Server{Secure: s.secure(t, creds.Server), Exports: []nbd.Export{{Device: openFile(t, path, true)}}})
	var running sync.WaitGroup
	for i := range connections {
		c, err := connect(t, port, "", nbd.Options{Secure: s.secure(t, creds.Client), Replies: nbd.Replies(i % 3)})
		must(t, err)
		for half := range 2 {
			// Two goroutines share a connection, each with a half of its region.
			model := content[i*region+half*region/2:][:region/2]
			running.Go(func() {
				requests(t, c, model, int64(i*region+half*region/2), total/connections/2, rand.New(rand.NewPCG(uint64(i), uint64(half))))
			})
		}
	}
	running.Wait()
	if got := value(os.ReadFile(path)); !bytes.Equal(got, content) && !t.Failed() {
		t.Error("the file is not what the model is")
	}
}

// requests makes random requests in a region that begins at base.
func requests(t *testing.T, c *nbd.Client, model []byte, base int64, count int, random *rand.Rand) {
	buf := make([]byte, 40<<10)
	for n := range count {
		off := random.IntN(len(model))
		size := min(1+random.IntN(1<<random.IntN(15)), len(model)-off)
		part, at := model[off:off+size], base+int64(off)
		var err error
		switch op := random.IntN(10); {
		case op < 4:
			got := buf[:size]
			_, err = c.ReadAt(got, at)
			if err == nil && !bytes.Equal(got, part) {
				err = fmt.Errorf("read something else than was written")
			}
		case op < 7:
			for i := range part {
				part[i] = byte(random.Uint32())
			}
			_, err = c.Write(part, at, nbd.CommandFlag(random.IntN(20)/19)) // FUA now and then
		case op < 8:
			clear(part)
			err = c.WriteZeroes(at, int64(size), []nbd.CommandFlag{0, nbd.NoHole}[random.IntN(2)])
		case op < 9:
			// Files read as zeroes where they were trimmed, which others need not.
			clear(part)
			err = c.Trim(at, int64(size))
		default:
			err = checkExtents(c, part, at)
			if random.IntN(50) == 0 && err == nil {
				err = c.Flush()
			}
		}
		if err != nil {
			t.Errorf("request %d, %d octets at %d: %v", n, size, at, err)
			return
		}
	}
}

// checkExtents wants zeroes wherever the server tells of them.
func checkExtents(c *nbd.Client, part []byte, at int64) error {
	list, err := c.Extents(at, int64(len(part)), 1000)
	for _, e := range list {
		n := min(int(e.Length), len(part))
		if e.Zero && len(bytes.Trim(part[:n], "\x00")) > 0 {
			return fmt.Errorf("an extent of %d octets is said to be zero, and is not", e.Length)
		}
		part = part[n:]
	}
	return err
}
