package peertest

import "regexp"

// A HelpOption is an option that a program's --help tells of.
type HelpOption struct {
	Long     string // without dashes
	Short    string // a letter, empty if there is none
	Argument bool   // it takes one
}

var helpLine = regexp.MustCompile(`(?m)^ +(?:-([a-zA-Z]), ?)?--([a-z0-9-]+)((?:=| \[?)[a-zA-Z\[])?`)

// HelpOptions finds the options in the --help of one of QEMU's programs.
func HelpOptions(help string) (list []HelpOption) {
	for _, m := range helpLine.FindAllStringSubmatch(help, -1) {
		list = append(list, HelpOption{m[2], m[1], m[3] != ""})
	}
	return list
}

// Forms are the ways to write the option on a command line, with a value if it
// takes one.
func (o HelpOption) Forms(value string) (forms [][]string) {
	long := []string{"--" + o.Long}
	if o.Argument {
		long = append(long, value)
	}
	forms = append(forms, long)
	if o.Short != "" {
		forms = append(forms, append([]string{"-" + o.Short}, long[1:]...))
	}
	return forms
}
