package gateway

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"virtls/creds"
	"virtls/internal/peertest"
)

// greeting is the first line of the guest's screen. From it the test learns to read
// letters; on the third line follows a prompt, and what was typed.
const (
	greeting = "A guest of VIRTLS (virtls), exactly > as you type."
	prompt   = "> "
)

// bootSector is a guest that greets on its screen and shows what is typed. It hides
// the cursor, whose blinking would change the screen.
func bootSector() []byte {
	code := []byte{
		0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0xbc, 0x00, 0x7c, 0xfb, // cli; ds=es=ss=0; sp=7c00; sti
		0xb8, 0x03, 0x00, 0xcd, 0x10, // int 10h: text mode, which clears the screen
		0xb4, 0x01, 0xb9, 0x00, 0x20, 0xcd, 0x10, // int 10h: no cursor
		0xbe, 0x00, 0x7d, // si=7d00: the greeting
		0xac,       // next: lodsb
		0x84, 0xc0, // test al, al
		0x74, 0x09, // jz key
		0xb4, 0x0e, 0xbb, 0x0a, 0x00, 0xcd, 0x10, // int 10h: print
		0xeb, 0xf2, // jmp next
		0x30, 0xe4, 0xcd, 0x16, // key: int 16h: wait for a key
		0x84, 0xc0, // test al, al
		0x74, 0xf8, // jz key
		0xb4, 0x0e, 0xbb, 0x0a, 0x00, 0xcd, 0x10, // int 10h: print
		0xeb, 0xef, // jmp key
	}
	sector := make([]byte, 1440<<10) // of a floppy disk
	copy(sector, code)
	copy(sector[0x100:], greeting+"\r\n\r\n"+prompt)
	sector[510], sector[511] = 0x55, 0xaa
	return sector
}

// showingGuest boots the boot sector, with its screen on a port, which it keeps if it boots again.
func showingGuest(t *testing.T, dir string, port int) *peertest.Proc {
	t.Helper()
	disk := filepath.Join(t.TempDir(), "disk")
	must(t, os.WriteFile(disk, bootSector(), 0o600))
	return peertest.Host.Start(t, peertest.Options{}, peertest.Listening(port), "qemu-system-x86_64", append(qemuCreds(dir, creds.Server),
		"-accel", "tcg", "-machine", "pc", "-m", "16", "-nodefaults", "-no-user-config", "-vga", "std", "-display", "none",
		"-drive", "if=floppy,format=raw,file="+disk, "-vnc", fmt.Sprintf("127.0.0.1:%d,tls-creds=tls0", port-5900))...).Ready()
}
