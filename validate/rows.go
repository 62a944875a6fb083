package validate

import (
	"slices"
	"strings"

	"virtls/creds"
	"virtls/finding"
	"virtls/pki"
)

// rows are the releases against which each consumer is judged, oldest first. A
// consumer without any is not asked for.
type rows map[string][]release

// A release is a row of package creds under the version that was asked for.
type release struct {
	creds.Consumer
	label string
}

// program is the software that a consumer is an end of: "QEMU" or "libvirt".
func program(consumer string) string {
	if strings.HasPrefix(consumer, "libvirt-") {
		return "libvirt"
	}
	return "QEMU"
}

var kindAgainst = finding.Define("version-not-for-consumer", finding.Error,
	"the version is of a program that is not asked about",
	"name a version of the consumers that --for names, or leave --for out")

// table resolves For and Against.
func (o Options) table() (rows, error) {
	names := o.For
	if len(names) == 0 {
		names = creds.ConsumerNames()
	}
	all := map[string][]creds.Consumer{}
	for _, c := range creds.Consumers() {
		all[c.Name] = append(all[c.Name], c)
	}
	t := rows{}
	for _, name := range names {
		if all[name] == nil {
			_, err := creds.ConsumerFor(name, "")
			return nil, err
		}
		if len(o.Against) == 0 {
			for _, c := range all[name] {
				t[name] = append(t[name], release{c, c.Version})
			}
		}
	}
	for _, version := range o.Against {
		if err := o.against(t, names, all, version); err != nil {
			return nil, err
		}
	}
	if o.MLDSA {
		for _, list := range t {
			for i := range list {
				list[i].MLDSA = pki.MLDSAUsable
			}
		}
	}
	return t, nil
}

// against adds the rows of one version: of the program that it names
// ("libvirt 12.8"), else of the consumers that were asked for, else of the
// programs that have a row of exactly this version, else of all.
func (o Options) against(t rows, names []string, all map[string][]creds.Consumer, version string) error {
	of, number, found := cutProgram(version)
	listed := func(name string) bool {
		return slices.ContainsFunc(all[name], func(c creds.Consumer) bool { return c.Version == number })
	}
	someListed := slices.ContainsFunc(names, listed)
	added := false
	for _, name := range names {
		switch {
		case found && program(name) != of:
			continue
		case !found && len(o.For) == 0 && someListed && !listed(name):
			continue
		}
		c, err := creds.ConsumerFor(name, number)
		if err != nil {
			if other := otherProgram(name, number); !found && len(o.For) == 0 && other != "" {
				return finding.Of(err).WithFix("of %s alone it is: --against %s-%s", other, strings.ToLower(other), number).Usage()
			}
			return err
		}
		t[name], added = append(t[name], release{c, number}), true
	}
	if !added {
		return kindAgainst.Found("--against", version).WithWant("a version of "+strings.Join(names, ", "), "").Usage()
	}
	return nil
}

// otherProgram returns the program that has such a version although the
// consumer's has none; empty if there is none.
func otherProgram(consumer, number string) string {
	for _, name := range creds.ConsumerNames() {
		if _, err := creds.ConsumerFor(name, number); err == nil && program(name) != program(consumer) {
			return program(name)
		}
	}
	return ""
}

// cutProgram takes the program's name off a version.
func cutProgram(version string) (of, number string, found bool) {
	for _, of := range []string{"QEMU", "libvirt"} {
		if len(version) > len(of) && strings.EqualFold(version[:len(of)], of) {
			return of, strings.TrimLeft(version[len(of):], " -:="), true
		}
	}
	return "", version, false
}

// A demand is by whom something is demanded: indices of releases by program.
type demand map[string][]int

func (d demand) add(consumer string, i int) {
	if p := program(consumer); !slices.Contains(d[p], i) {
		d[p] = append(d[p], i)
	}
}

// of names the releases: "QEMU 7.2 to 10.0.7, libvirt".
func (r *run) of(d demand) string {
	var parts []string
	for _, p := range []string{"QEMU", "libvirt"} {
		if len(d[p]) == 0 {
			continue
		}
		var list []release
		for name, rows := range r.rows {
			if program(name) == p {
				list = rows
			}
		}
		slices.Sort(d[p])
		parts = append(parts, p+span(d[p], list, len(r.o.Against) == 0))
	}
	return strings.Join(parts, ", ")
}

// span says which of the releases the indices are: " 9.0 to 11.5"; of all that
// are known also " 10.2 and newer", and nothing if they are all.
func span(indices []int, list []release, known bool) string {
	first, last := indices[0], indices[len(indices)-1]
	whole := last-first+1 == len(indices)
	switch end := len(list) - 1; {
	case known && whole && first == 0 && last == end:
		return ""
	case known && whole && last == end && first < last:
		return " " + list[first].label + " and newer"
	case whole && first < last:
		return " " + list[first].label + " to " + list[last].label
	}
	var labels []string
	for _, i := range indices {
		labels = append(labels, list[i].label)
	}
	return " " + strings.Join(labels, ", ")
}
