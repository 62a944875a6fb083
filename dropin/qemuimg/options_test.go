package qemuimg

import (
	"regexp"
	"strings"
	"testing"

	"virtls/internal/peertest"
)

// FuzzValues reads sizes and lists of settings: the parts of a list, put together
// again, are the list.
func FuzzValues(f *testing.F) {
	for _, s := range []string{"1.5G", "0x200", "64k", "9223372036854775807E", "a=b,c=d,,e", "driver=qcow2,file.filename=x", "=", ",", "1e5", "."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, ok := parseSize(s); ok && n < 0 {
			t.Errorf("the size %q is %d", s, n)
		}
		list, err := settings(s)
		if err != nil {
			return
		}
		var parts []string
		for _, m := range list {
			parts = append(parts, m.Name+"="+strings.ReplaceAll(m.Value, ",", ",,"))
		}
		if got := strings.Join(parts, ","); got != strings.TrimSuffix(s, ",") && !strings.HasSuffix(s, ",") {
			t.Errorf("%q is read as %q", s, got)
		}
	})
}

var helpCommand = regexp.MustCompile(`(?m)^  ([a-z]+) - `)

var unknownOption = regexp.MustCompile(`(unrecognized|invalid) option|an argument|--\S+ is not supported`)

// TestKnowsEveryOption gives our program every command and every option that the
// help of the real one, of the version that is imitated, has: it is in our help,
// or refused by name.
func TestKnowsEveryOption(t *testing.T) {
	t.Chdir(t.TempDir())
	peertest.Forky.Need(t)
	help := func(args ...string) string {
		return peertest.Forky.Run(t, peertest.Options{}, "qemu-img", append(args, "--help")...).Stdout
	}
	all := helpCommand.FindAllStringSubmatch(help(), -1)
	if len(all) < 15 {
		t.Fatalf("qemu-img --help has the commands %v", all)
	}
	for _, m := range all {
		name := m[1]
		t.Run(name, func(t *testing.T) {
			ourHelp := ours(newest, []string{name, "--help"})
			if ourHelp.code != exitOK {
				if want := "qemu-img: the command " + name + " is not supported by virtls;"; !strings.HasPrefix(ourHelp.err, want) {
					t.Errorf("the command is refused by %q, want %q", ourHelp.err, want)
				}
				return
			}
			theirs := peertest.HelpOptions(help(name))
			if len(theirs) < 8 {
				t.Fatalf("qemu-img %s --help has the options %v", name, theirs)
			}
			for _, o := range theirs {
				known := strings.Contains(ourHelp.out, "--"+o.Long)
				for _, form := range o.Forms("1") {
					got := ours(newest, append([]string{name}, form...))
					refusal := "qemu-img: --" + o.Long + " is not supported by virtls\n"
					switch {
					case !known && (got.code != exitWrong || got.err != refusal):
						t.Errorf("%s, which is not in the help: %v", form, got)
					case known && unknownOption.MatchString(got.err):
						t.Errorf("%s, which is in the help: %v", form, got)
					}
				}
			}
		})
	}
}
