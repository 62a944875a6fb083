package atomicfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// manyFiles is the number of files or directories from which one syncfs per
// filesystem is cheaper than an fsync each. Smaller batches do not use it,
// because it also waits for what others have written there.
const manyFiles = 64

// CommitAll syncs all files of a batch, renames them over their targets in the
// order given, and syncs each directory once. Those committed before are
// skipped. After an error the files that did not reach their targets are still
// staged: commit them again or discard them.
func CommitAll(batch []*Staged) error {
	if err := Sync(batch); err != nil {
		return err
	}
	var renamed []*Staged
	for _, s := range batch {
		if s.committed {
			continue
		}
		if err := s.rename(); err != nil {
			// What is renamed already is synced all the same.
			return errors.Join(s.failed("rename over the old file", err), syncDirs(renamed))
		}
		s.committed = true
		took(StepRename, s.path)
		renamed = append(renamed, s)
	}
	return syncDirs(renamed)
}

// rename has the staged file take its place. os.Rename would look first whether
// that is a directory, which the system call refuses too.
func (s *Staged) rename() error {
	for {
		if err := unix.Rename(s.temp, s.path); err != unix.EINTR {
			return err
		}
	}
}

// Sync brings the content of the staged files to the disk without renaming
// them, for callers that write a journal between the two. [CommitAll] does not
// sync them again.
func Sync(batch []*Staged) error {
	var pending []*Staged
	for _, s := range batch {
		if !s.synced && !s.committed {
			pending = append(pending, s)
		}
	}
	if len(pending) >= manyFiles {
		if err := syncFilesystems(pending); err != nil {
			return fmt.Errorf("write %s and %d more files: sync: %w", pending[0].path, len(pending)-1, err)
		}
	}
	for _, s := range pending {
		if len(pending) < manyFiles {
			if err := syncPath(s.temp); err != nil {
				return s.failed("sync", err)
			}
		}
		s.synced = true
		took(StepSync, s.path)
	}
	return nil
}

// SyncDir brings the entries of a directory to the disk: without it a file
// made, renamed or removed there may be as before after a loss of power.
func SyncDir(dir string) error {
	if err := syncPath(dir); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	took(StepSyncDir, dir)
	return nil
}

// syncDirs syncs the directories of files that have taken their places.
func syncDirs(renamed []*Staged) error {
	var dirs []string
	seen := map[string]bool{}
	for _, s := range renamed {
		if dir := filepath.Dir(s.path); !seen[dir] {
			seen[dir] = true
			dirs = append(dirs, dir)
		}
	}
	if len(dirs) < manyFiles {
		for _, dir := range dirs {
			if err := SyncDir(dir); err != nil {
				return err
			}
		}
		return nil
	}
	if err := syncFilesystems(renamed); err != nil {
		return fmt.Errorf("sync directory %s and %d more: %w", dirs[0], len(dirs)-1, err)
	}
	for _, dir := range dirs {
		took(StepSyncDir, dir)
	}
	return nil
}

// syncPath is fsync on a file or directory. The kernel reports a failed write
// once to whoever syncs next, so the descriptor need not be the writer's.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return reason(err)
	}
	defer f.Close()
	return reason(f.Sync())
}

// syncFilesystems is syncfs(2) on each filesystem that holds one of the files.
func syncFilesystems(files []*Staged) error {
	done := map[uint64]bool{}
	for _, s := range files {
		at := s.temp
		if s.committed {
			at = s.path
		}
		if s.device == 0 {
			var stat unix.Stat_t
			if err := unix.Lstat(at, &stat); err != nil {
				return err
			}
			s.device = stat.Dev
		}
		if done[s.device] {
			continue
		}
		done[s.device] = true
		f, err := os.Open(filepath.Dir(at))
		if err != nil {
			return reason(err)
		}
		err = unix.Syncfs(int(f.Fd()))
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
