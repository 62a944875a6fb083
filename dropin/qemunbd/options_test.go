package qemunbd

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"virtls/dropin"
	"virtls/internal/peertest"
)

var unknownOption = regexp.MustCompile(`(unrecognized|invalid) option|an argument|--\S+ is not supported`)

// TestKnowsEveryOption gives our program every option that the real one's --help
// has: it is in our help, or refused by name.
func TestKnowsEveryOption(t *testing.T) {
	t.Chdir(t.TempDir())
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		theirs := peertest.HelpOptions(g.Run(t, peertest.Options{}, "qemu-nbd", "--help").Stdout)
		if len(theirs) < 25 {
			t.Fatalf("qemu-nbd --help has the options %v", theirs)
		}
		for _, o := range theirs {
			for _, form := range o.Forms("1") {
				var out, errs bytes.Buffer
				code := runAs(t.Context(), newest, append(form, "none"), dropin.IO{In: strings.NewReader(""), Out: &out, Err: &errs})
				refusal := "qemu-nbd: --" + o.Long + " is not supported by virtls\n"
				switch known := strings.Contains(helpText(), "--"+o.Long); {
				case !known && (code != exitWrong || errs.String() != refusal):
					t.Errorf("%s, which is not in the help: %d %s", form, code, errs.String())
				case known && unknownOption.MatchString(errs.String()):
					t.Errorf("%s, which is in the help: %s", form, errs.String())
				}
			}
		}
	})
}
