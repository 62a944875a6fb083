package virtpki

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"virtls/dropin"
	"virtls/internal/peertest"
)

// queryFiles makes files for virt-pki-query-dn of a certificate in PEM form.
func queryFiles(t *testing.T, kit, dir string) {
	t.Helper()
	data, err := os.ReadFile(kit + "/server.pem")
	if err != nil {
		t.Fatal(err)
	}
	pem := string(data[bytes.Index(data, []byte("-----BEGIN")):])
	lines := strings.SplitAfter(pem, "\n")
	body := strings.Join(lines[1:], "")
	key, err := os.ReadFile(kit + "/rsa-key.pem")
	if err != nil {
		t.Fatal(err)
	}
	label := func(l string) string {
		return strings.ReplaceAll(strings.ReplaceAll(pem, "BEGIN CERT", "BEGIN "+l), "END CERT", "END "+l)
	}
	ca, err := os.ReadFile(kit + "/ca.pem")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"plain": pem, "empty": "", "key": string(key), "key first": string(key) + pem, "two": pem + string(ca),
		"X509 CERTIFICATE": label("X509 CERT"), "TRUSTED CERTIFICATE": label("TRUSTED CERT"), "other label": label("FOO CERT"), "other label first": label("FOO CERT") + pem,
		"one line": strings.ReplaceAll(pem, "\n", ""), "CRLF": strings.ReplaceAll(pem, "\n", "\r\n"), "BOM": "\ufeff" + pem, "indented": "  " + strings.ReplaceAll(pem, "\n", "\n  "),
		"no end": strings.Join(lines[:len(lines)-2], ""), "a line is missing": lines[0] + strings.Join(lines[2:], ""), "bad base64": strings.Replace(pem, lines[3][:4], "####", 1),
		"bad base64 first": strings.Replace(pem, lines[3][:4], "####", 1) + pem, "begin only": lines[0], "half a begin": "-----BEGIN CERTIFICATE",
		"empty block": "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
		"other end":   strings.ReplaceAll(pem, "END CERTIFICATE", "END FOO"), "short end": strings.ReplaceAll(pem, "-----END", "----END"), "short begin": strings.ReplaceAll(pem, "CERTIFICATE-----\n"+lines[1], "CERTIFICATE----\n"+lines[1]),
		"headers": lines[0] + "X: y\n\n" + body, "NUL before": "x\x00y\n" + pem, "comment inside": lines[0] + "garbage!!\n" + body, "text before": "text\n" + pem, "blanks inside": lines[0] + " \t\n\n" + body,
		"begin in text": "see -----BEGIN CERTIFICATE----- below\n" + pem,
	} {
		write(t, filepath.Join(dir, name), text)
	}
	if err := os.Mkdir(filepath.Join(dir, "directory"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, o := range orders {
		if err := os.Symlink(kit+"/"+o.name+".pem", filepath.Join(dir, o.name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(kit+"/server.der", filepath.Join(dir, "DER")); err != nil {
		t.Fatal(err)
	}
}

// There is no difference from the real program of any generation.
func TestQueryDN(t *testing.T) {
	dir := t.TempDir()
	queryFiles(t, kit(t), dir)
	calls := [][]string{{}, {""}, {"nothing"}, {"--help"}, {"-h"}, {"--version"}, {"-v"}, {"-V"}, {"--foo"}, {"plain", "two"}, {"--", "plain"},
		{"-h", "plain"}, {"plain", "-v"}, {"--vers"}, {"-hv"}, {"--help=x"}, {"-x", "-h"}}
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		calls = append(calls, []string{n.Name()})
	}
	var mine []string
	t.Chdir(dir)
	for _, args := range calls {
		var out strings.Builder
		code := QueryDN(args, dropin.IO{In: strings.NewReader(""), Out: &out, Err: &out})
		mine = append(mine, fmt.Sprintf("%q\n%sexit code %d\n", args, out.String(), code))
	}
	for _, g := range peertest.All {
		t.Run(g.Name, func(t *testing.T) {
			g.Need(t)
			if diff := cmp.Diff(realQueryDN(t, g, dir, calls), mine); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// realQueryDN runs the real program, and takes the imitated version for its own.
func realQueryDN(t *testing.T, g peertest.Generation, dir string, calls [][]string) (said []string) {
	t.Helper()
	const mark = "@@@\n"
	for batch := range slices.Chunk(calls, 25) {
		var script strings.Builder
		fmt.Fprintf(&script, "cd '%s'\n", dir)
		for _, args := range batch {
			script.WriteString("virt-pki-query-dn")
			for _, a := range args {
				fmt.Fprintf(&script, " '%s'", a)
			}
			fmt.Fprintf(&script, " 2>&1; printf 'exit code %%s\\n@@@\\n' $?\n")
		}
		r := g.Run(t, peertest.Options{Env: []string{"LC_ALL=C.UTF-8"}}, "sh", "-c", script.String())
		outputs := strings.Split(strings.TrimSuffix(r.Stdout, mark), mark)
		if len(outputs) != len(batch) {
			t.Fatal(r)
		}
		for i, text := range outputs {
			for _, version := range []string{"9.0.0\n", "11.3.0\n"} {
				text = strings.Replace(text, version, LibvirtVersion+"\n", 1)
			}
			said = append(said, fmt.Sprintf("%q\n%s", batch[i], text))
		}
	}
	return said
}

func FuzzQueryDN(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"))
	f.Add([]byte("x -----BEGIN X509 CERTIFICATE-----MIIB -----END "))
	if names, err := filepath.Glob("testdata/*.pem"); err == nil {
		for _, name := range names {
			if data, err := os.ReadFile(name); err == nil {
				f.Add(data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		name := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		var out, errs strings.Builder
		code := QueryDN([]string{name}, dropin.IO{In: strings.NewReader(""), Out: &out, Err: &errs})
		if (code == 0) != (out.Len() > 0) || (code == 0) == (errs.Len() > 0) {
			t.Errorf("exit code %d with %q and %q", code, out.String(), errs.String())
		}
	})
}
