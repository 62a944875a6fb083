package validate

import (
	"fmt"
	"path"
	"slices"

	"virtls/finding"
	"virtls/layout"
	"virtls/psk"
)

var kindPSKBoth = finding.Define("psk-key-both-ways", finding.Warning,
	"one key is known to this host as a server and as a client, so that each of the two hosts can pose as the other",
	"make a key of its own for each server: psktool -u USER -p FILE")

var kindPSKManyServers = finding.Define("psk-key-many-servers", finding.Warning,
	"one key is used with several servers, so that each of them can pose as the others, and as this client",
	"make a key of its own for each server: psktool -u USER -p FILE")

// psk judges the pre-shared keys of the host's QEMU: as a server, and as a
// client of each server.
func (t *tree) psk() {
	loc := layout.System(layout.QEMU, "")
	dirs := []string{loc.Dir, layout.PSKServer(loc)}
	servers := len(dirs)
	clients := path.Dir(layout.PSKClient(loc, "x"))
	for _, e := range t.entries(clients) {
		dirs = append(dirs, path.Join(clients, e.Name()))
	}
	used := map[string]string{} // key to the first file
	for i, dir := range dirs {
		f := t.pskIn(dir)
		if f == nil {
			continue
		}
		file := path.Join(dir, layout.PSKFile)
		for _, e := range f.Entries() {
			if e.Key.Size() == 0 {
				continue
			}
			at, other := fmt.Sprintf("%s:%d", file, e.Line), used[e.Key.Hex()]
			switch {
			case i < servers || other == "":
				used[e.Key.Hex()] = file
			case slices.Contains(dirs[:servers], path.Dir(other)):
				t.note(kindPSKBoth.Found(at, "a key of "+other).WithWant("a key of its own", "RFC 9257"))
			case other != file: // within a file that is psk-key-shared
				t.note(kindPSKManyServers.Found(at, "the key of "+other).WithWant("a key of its own for every server", "RFC 9257"))
			}
		}
	}
}

// pskIn judges one directory's keys.psk, nil if there is none that can be read.
func (t *tree) pskIn(dir string) *psk.File {
	file := path.Join(dir, layout.PSKFile)
	if !t.view.exists(file) {
		return nil
	}
	data, err := t.view.ReadFile(file)
	if err != nil {
		return nil // which view has noticed
	}
	f, err := psk.Parse(file, data)
	if err != nil {
		t.note(finding.Of(err))
		return nil
	}
	t.noteAll(f.Check())
	t.keyFiles = append(t.keyFiles, file)
	return f
}
