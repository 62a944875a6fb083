package dropin

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"virtls/internal/peertest"

	"github.com/google/go-cmp/cmp"
)

func check(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

var sample = Syntax{
	Program: "prog",
	Options: []Option{
		{Long: "all", Short: 'a'},
		{Long: "bind", Short: 'b', Arg: RequiredArg},
		{Long: "cache", Short: 'c', Arg: OptionalArg},
		{Long: "cache-size", Arg: RequiredArg},
		{Long: "object", Arg: RequiredArg},
		{Short: 'x'},
		{Long: "blind", Arg: RequiredArg, As: "bind"},
	},
}

func TestParse(t *testing.T) {
	tests := []struct {
		name     string
		args     []string
		matches  []Match
		operands []string
		err      string
	}{
		{name: "nothing"},
		{name: "long", args: []string{"--all", "--bind=v", "--bind", "w", "--bind="},
			matches: []Match{{"all", ""}, {"bind", "v"}, {"bind", "w"}, {"bind", ""}}},
		{name: "short", args: []string{"-a", "-bv", "-b", "w", "-ab", "-x", "-abx"},
			matches: []Match{{"all", ""}, {"bind", "v"}, {"bind", "w"}, {"all", ""}, {"bind", "-x"}, {"all", ""}, {"bind", "x"}}},
		{name: "optional argument", args: []string{"-c", "v", "-cv", "--cache", "v", "--cache=v"},
			matches: []Match{{"cache", ""}, {"cache", "v"}, {"cache", ""}, {"cache", "v"}}, operands: []string{"v", "v"}},
		{name: "abbreviations", args: []string{"--al", "--bi=v", "--cache-", "9"},
			matches: []Match{{"all", ""}, {"bind", "v"}, {"cache-size", "9"}}},
		{name: "another spelling", args: []string{"--blind=v", "--bl=w"}, matches: []Match{{"bind", "v"}, {"bind", "w"}}},
		{name: "value like an option", args: []string{"--bind", "--all", "-b", "--"}, matches: []Match{{"bind", "--all"}, {"bind", "--"}}},
		{name: "mixed with operands", args: []string{"one", "-a", "-", "two"}, matches: []Match{{"all", ""}}, operands: []string{"one", "-", "two"}},
		{name: "end of options", args: []string{"-a", "--", "-b", "--"}, matches: []Match{{"all", ""}}, operands: []string{"-b", "--"}},
		{name: "equals sign in a value", args: []string{"--object=a=b=c"}, matches: []Match{{"object", "a=b=c"}}},
		{name: "unknown long", args: []string{"-a", "--foo=1", "-a"}, matches: []Match{{"all", ""}}, err: "prog: unrecognized option '--foo=1'"},
		{name: "unknown short", args: []string{"-aé"}, matches: []Match{{"all", ""}}, err: "prog: invalid option -- '\xc3'"},
		{name: "dashes alone", args: []string{"---"}, err: "prog: unrecognized option '---'"},
		{name: "ambiguous", args: []string{"--b=1"}, err: "prog: option '--b=1' is ambiguous; possibilities: '--bind' '--blind'"},
		{name: "ambiguous prefix of another", args: []string{"--cach"}, err: "prog: option '--cach' is ambiguous; possibilities: '--cache' '--cache-size'"},
		{name: "no name", args: []string{"--=1"}, err: "prog: option '--=1' is ambiguous; possibilities: '--all' '--bind' '--cache' '--cache-size' '--object' '--blind'"},
		{name: "missing argument", args: []string{"--bi"}, err: "prog: option '--bind' requires an argument"},
		{name: "missing short argument", args: []string{"-ab"}, matches: []Match{{"all", ""}}, err: "prog: option requires an argument -- 'b'"},
		{name: "unwanted argument", args: []string{"--al=1"}, err: "prog: option '--all' doesn't allow an argument"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := sample.Parse(test.args)
			check(t, "matches", got.Matches, test.matches)
			if test.err != "" {
				if err == nil || err.Error() != test.err {
					t.Errorf("error %v, want %s", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			check(t, "operands", got.Operands, test.operands)
		})
	}
}

func TestStopAtOperand(t *testing.T) {
	s := sample
	s.StopAtOperand = true
	got, err := s.Parse([]string{"-a", "info", "--foo", "-a"})
	check(t, "error", err, nil)
	check(t, "parsed", got, Parsed{Matches: []Match{{"all", ""}}, Operands: []string{"info", "--foo", "-a"}})
}

func TestParsed(t *testing.T) {
	got, err := sample.Parse([]string{"-b1", "-a", "--blind=2"})
	check(t, "error", err, nil)
	last, ok := got.Last("bind")
	check(t, "last", last, "2")
	check(t, "all", got.All("bind"), []string{"1", "2"})
	if !ok || !got.Has("all") || got.Has("cache") {
		t.Errorf("has: bind %v, all %v, cache %v", ok, got.Has("all"), got.Has("cache"))
	}
}

// Programs make their own texts from the fields.
func TestOptionError(t *testing.T) {
	_, err := sample.Parse([]string{"--bi"})
	optionErr, ok := errors.AsType[*OptionError](err)
	if !ok {
		t.Fatalf("error %T", err)
	}
	check(t, "error", *optionErr, OptionError{"prog", MissingArgument, "--bind", "option '--bind' requires an argument"})
}

// getopt(1) prints what the C library's getopt_long makes of a command line.
func TestLikeTheCLibrary(t *testing.T) {
	peertest.NeedProgram(t, "getopt", "util-linux")
	pieces := []string{"-", "--", "---", "-a", "-b", "-c", "-x", "-y", "-ab", "-abx", "-acx", "-xa", "-ba", "-ya", "-a-", "-:", "v", "w", "",
		"--all", "--al", "--a=1", "--all=", "--bind", "--bind=1", "--bi", "--b", "--bl=2", "--cache", "--cache=3", "--cach", "--cache-s", "--ca=",
		"--object", "--o=4=5", "--foo", "--foo=6", "--=7", "--allx"}
	for _, stop := range []bool{false, true} {
		random := rand.New(rand.NewPCG(1, 2))
		for range 400 {
			args := make([]string, random.IntN(6))
			for i := range args {
				args[i] = pieces[random.IntN(len(pieces))]
			}
			s := sample
			s.StopAtOperand = stop
			got := likeGetopt(s.Parse(args))
			if want := getopt(t, stop, args); got != want {
				t.Errorf("%q: got %s, the C library has %s", args, got, want)
			}
		}
	}
}

// getopt returns standard output of getopt(1), or its first error.
func getopt(t *testing.T, stop bool, args []string) string {
	t.Helper()
	short := "ab:c::x"
	if stop {
		short = "+" + short
	}
	cmd := exec.Command("getopt", append([]string{"-n", "prog", "-o", short, "-l", "all,bind:,cache::,cache-size:,object:,blind:", "--"}, args...)...)
	cmd.Env = []string{"LC_ALL=C"}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		first, _, _ := strings.Cut(errs.String(), "\n")
		return first
	}
	// Which spelling was used does not matter here. A blank stands only before
	// what is an option: values are quoted, and none holds one.
	return strings.NewReplacer(" --all", " -a", " --bind", " -b", " --blind", " -b", " --cache '", " -c '").Replace(strings.TrimSuffix(out.String(), "\n"))
}

// likeGetopt prints as getopt(1) does.
func likeGetopt(p Parsed, err error) string {
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, m := range p.Matches {
		switch m.Name {
		case "all":
			b.WriteString(" -a")
		case "bind":
			b.WriteString(" -b '" + m.Value + "'")
		case "cache":
			b.WriteString(" -c '" + m.Value + "'")
		case "":
			b.WriteString(" -x")
		default:
			b.WriteString(" --" + m.Name + " '" + m.Value + "'")
		}
	}
	b.WriteString(" --")
	for _, o := range p.Operands {
		b.WriteString(" '" + o + "'")
	}
	return b.String()
}

func FuzzGetopt(f *testing.F) {
	f.Add("--all\n-bv\n--cache=1\n--\n-x")
	f.Add("-ab\n--=\n---\n-")
	f.Fuzz(func(t *testing.T, lines string) {
		args := strings.Split(lines, "\n")
		got, err := sample.Parse(args)
		if len(got.Matches)+len(got.Operands) > len(lines)+1 {
			t.Fatalf("%q: %d options and %d operands", args, len(got.Matches), len(got.Operands))
		}
		for _, m := range got.Matches {
			if !strings.Contains(lines, m.Value) {
				t.Fatalf("%q: option %s has the value %q", args, m.Name, m.Value)
			}
		}
		if optionErr, ok := errors.AsType[*OptionError](err); err != nil && (!ok || !strings.Contains(lines, strings.TrimLeft(optionErr.Option, "-")) && optionErr.Problem <= AmbiguousOption) {
			t.Fatalf("%q: error %v", args, err)
		}
	})
}
