// Package qcow2 reads disk images in QEMU's qcow2 format, versions 2 and 3,
// with their backing files, and writes new ones.
//
//	disk, err := qcow2.OpenFile("guest.qcow2", qcow2.Options{})
//	if err != nil { ... }
//	defer disk.Close()
//	n, err := disk.ReadAt(sector, 0)
//
// A [Disk] is what a guest sees: a raw file or an [Image] with its backing
// chain. [Disk.Extent] tells what is allocated, zero, compressed, and where.
// [Image.Check] counts references as "qemu-img check" does; [Create] makes new
// images that qemu-img finds clean.
//
// Read is everything that qemu-img of 7.2 to 11.1 makes: all cluster sizes and
// refcount widths, deflate and zstd clusters, zero clusters, extended L2 entries
// (subclusters), internal snapshots, dirty and corrupt images. Refused with an
// [Error] that says so: encryption (AES, LUKS), external data files, and
// features that nobody knew when this was written.
//
// An image may come from an enemy. Every offset is bounded by the file, every
// table by QEMU's own limits, chains by [MaxDepth], and a compressed cluster
// never yields more than a cluster. A chain keeps at most 256 MiB of L1 tables, no
// more than its files have, and [CacheSize] bytes of other metadata and decompressed clusters.
// Backing files are opened by whoever opens the image: [Options.Open] decides
// what a name in an image may reach, and without it no other file is opened.
//
// Disks may be read by any number of goroutines. Files must not change
// meanwhile: like "qemu-img --force-share" on a disk in use, readers then see
// something between old and new.
package qcow2
