package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// certtool is an authority made with certtool, and how it makes keys.
type certtool struct {
	dir      string
	keyFlags []string
}

// newCerttool makes the authority, which is not counted.
func newCerttool(dir string, keyFlags ...string) (*certtool, error) {
	t := &certtool{dir, keyFlags}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(t.path("ca.info"), []byte("cn = Bench CA\nca\ncert_signing_key\ncrl_signing_key\nexpiration_days = 3650\n"), 0o600); err != nil {
		return nil, err
	}
	if err := os.WriteFile(t.path("crl.info"), []byte("crl_next_update = 30\ncrl_number = 1\n"), 0o600); err != nil {
		return nil, err
	}
	for _, args := range [][]string{
		append([]string{"--generate-privkey", "--outfile", t.path("ca-key.pem")}, keyFlags...),
		{"--generate-self-signed", "--load-privkey", t.path("ca-key.pem"), "--template", t.path("ca.info"), "--outfile", t.path("ca-cert.pem")},
		{"--generate-crl", "--load-ca-privkey", t.path("ca-key.pem"), "--load-ca-certificate", t.path("ca-cert.pem"), "--template", t.path("crl.info"), "--outfile", t.path("ca-crl.pem")},
	} {
		if _, err := measure(exec.Command("certtool", args...)); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (t *certtool) path(file string) string { return filepath.Join(t.dir, file) }

// processes makes a key and a certificate for each role of each host, and
// counts the processes of certtool and nothing else.
func (t *certtool) processes(name string, hosts int) (total usage, err error) {
	dir := t.path(name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return total, err
	}
	step := func(args ...string) error {
		u, err := measure(exec.Command("certtool", args...))
		total = total.plus(u)
		return err
	}
	for i := range hosts {
		for _, role := range []string{"server", "client"} {
			at := filepath.Join(dir, fmt.Sprintf("%s-%d", role, i))
			template := fmt.Sprintf("organization = Bench\ncn = kvm%d.example.com\ndns_name = kvm%d.example.com\ndns_name = kvm%d\nip_address = 10.0.%d.%d\ntls_www_%s\nsigning_key\n",
				i, i, i, i>>8&255, i&255, role)
			if err := os.WriteFile(at+".info", []byte(template), 0o600); err != nil {
				return total, err
			}
			if err := step(append([]string{"--generate-privkey", "--outfile", at + "-key.pem"}, t.keyFlags...)...); err != nil {
				return total, err
			}
			if err := step("--generate-certificate", "--load-privkey", at+"-key.pem", "--template", at+".info",
				"--load-ca-certificate", t.path("ca-cert.pem"), "--load-ca-privkey", t.path("ca-key.pem"), "--outfile", at+"-cert.pem"); err != nil {
				return total, err
			}
		}
	}
	return total, nil
}

// fleetScript makes what virtls apply makes, but the register: each host's
// directory with its modes, keys, certificates, authority and revocation list,
// on the disk in the end. Its arguments are a directory, a number of hosts and
// the flags for keys. It starts no more processes than it must.
const fleetScript = `
set -eu
dir=$1 hosts=$2
shift 2
i=0
while [ $i -lt $hosts ]; do
  at=$dir/kvm$i.example.com/etc/pki/qemu
  install -d -m 0750 $at
  for role in server client; do
    printf '%s\n' 'organization = Bench' "cn = kvm$i.example.com" "dns_name = kvm$i.example.com" "dns_name = kvm$i" \
      "ip_address = 10.0.$((i / 256)).$((i % 256))" tls_www_$role signing_key >$role.info
    certtool --generate-privkey "$@" --outfile $at/$role-key.pem
    certtool --generate-certificate --load-privkey $at/$role-key.pem --template $role.info \
      --load-ca-certificate ca-cert.pem --load-ca-privkey ca-key.pem --outfile $at/$role-cert.pem
  done
  chmod 0640 $at/server-key.pem $at/client-key.pem
  cp ca-cert.pem ca-crl.pem $at
  i=$((i + 1))
done
sync -f $dir
`

// script counts the shell and all processes that it starts.
func (t *certtool) script(name string, hosts int) (usage, error) {
	cmd := exec.Command("sh", append([]string{"-c", fleetScript, "sh", name, fmt.Sprint(hosts)}, t.keyFlags...)...)
	cmd.Dir = t.dir
	return measure(cmd)
}
