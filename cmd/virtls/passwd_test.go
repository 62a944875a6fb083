package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"virtls/internal/peertest"
)

// passwd never shows a password, whether a command succeeds or fails, and no
// file of accounts has one.
func TestPasswdKeepsPasswords(t *testing.T) {
	dir := memoryDir(t)
	secrets := peertest.Secrets{"hidden-0ne", "hidden-tw0"}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one", secrets[0]+"\n")
	write("two", secrets[1]+"\n")
	write("bell", secrets[0]+"\a\n") // which SASLprep forbids
	write("clear", "fred "+secrets[0]+"\n")
	write("twice", "fred SCRAM-SHA-256$4096:QQ==$"+secrets[0]+":\n")
	succeeded := 0
	for _, command := range []string{
		"add accounts fred --password-file one", "add accounts mary --password-file two", "add accounts fred --password-file two", "list accounts",
		"add accounts x --password-file bell", "add accounts #x --password-file one", "add clear x --password-file one", "add /nowhere/accounts x --password-file one",
		"list clear", "list twice", "remove clear fred", "remove accounts mary", "remove accounts mary", "import accounts one", "import clear accounts",
	} {
		for _, flags := range []string{"", " --json"} {
			out, errs, err := execute(dir, "virtls", strings.Fields("passwd "+command+flags)...)
			secrets.Check(t, out, errs, err)
			if err == nil {
				succeeded++
			}
		}
	}
	if succeeded != 9 { // each good one twice, and a removal once
		t.Errorf("%d commands succeed", succeeded)
	}
	data, err := os.ReadFile(filepath.Join(dir, "accounts"))
	if err != nil || secrets.In(string(data)) != "" || !strings.Contains(string(data), "\nfred SCRAM-") {
		t.Errorf("the accounts are %q, %v", data, err)
	}
}
