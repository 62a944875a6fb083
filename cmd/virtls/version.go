package main

import (
	"runtime"
	"runtime/debug"
)

// version is set at link time for releases.
var version = "devel"

type versionCmd struct{}

func (c *versionCmd) Run(a *app) error {
	revision := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	if a.json {
		return a.printJSON(map[string]any{"schema": 1, "version": version, "revision": revision, "go": runtime.Version()})
	}
	a.printf("virtls %s", version)
	if revision != "" {
		a.printf(" (%.12s)", revision)
	}
	a.printf(", %s\n", runtime.Version())
	return nil
}
