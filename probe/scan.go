package probe

import (
	"context"
	"fmt"
	"strings"

	"virtls/finding"
	"virtls/tlsengine/scan"
)

// scan finds out which versions and suites the server accepts.
func (p *prober) scan(ctx context.Context) {
	if p.nc != nil {
		p.nc.Close()
	}
	r, err := scan.Scan(ctx, p.againToTLS, nil)
	p.r.Scan = r
	if err != nil {
		if p.r.Worst() != finding.Error { // else it is known what is wrong
			p.find(kindNotTLS.Found("", err.Error()))
		}
		p.done(StageScan, Failed, err.Error())
		return
	}
	p.find(r.Findings...)
	var list []string
	for _, v := range r.Versions {
		if v.Accepted {
			list = append(list, fmt.Sprintf("%s (%d suites)", v.Version, len(v.Suites)))
		}
	}
	p.done(StageScan, Passed, strings.Join(list, ", "))
}
