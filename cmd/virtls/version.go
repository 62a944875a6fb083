package main

import (
	"runtime"
	"runtime/debug"

	"virtls/finding"
)

// version is set at link time for releases.
var version = "devel"

type versionCmd struct{}

func (*versionCmd) Help() string {
	return `Example:
  virtls version --json`
}

type versionReport struct {
	finding.Report
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
}

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
		return a.printJSON(versionReport{finding.NewReport(nil), version, revision, runtime.Version()})
	}
	a.printf("virtls %s", version)
	if revision != "" {
		a.printf(" (%.12s)", revision)
	}
	a.printf(", %s\n", runtime.Version())
	return nil
}
