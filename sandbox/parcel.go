package sandbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A parcel is what one of our processes packs for another, which is the same binary: numbers as varints, and texts with their length
// before them. Paths are bytes, and JSON would make U+FFFD, which is another name, of what is no UTF-8; and to describe 90 mounts in
// it took two milliseconds of a launch on each side.
type parcel struct{ b []byte }

func (p *parcel) number(n int64) { p.b = binary.AppendVarint(p.b, n) }

func (p *parcel) text(s string) {
	p.number(int64(len(s)))
	p.b = append(p.b, s...)
}

func (p *parcel) flags(all ...bool) {
	var n int64
	for i, f := range all {
		if f {
			n |= 1 << i
		}
	}
	p.number(n)
}

// unpacker takes a parcel apart, in the order in which it was packed. What is not there is 0 or empty, and said at the end.
type unpacker struct {
	b     []byte
	short bool
}

func (u *unpacker) number() int64 {
	n, size := binary.Varint(u.b)
	if size <= 0 {
		u.b, u.short = nil, true
		return 0
	}
	u.b = u.b[size:]
	return n
}

func (u *unpacker) text() string {
	n := u.number()
	if n < 0 || n > int64(len(u.b)) {
		u.b, u.short = nil, true
		return ""
	}
	s := string(u.b[:n])
	u.b = u.b[n:]
	return s
}

// count is a number of things of which each takes a byte at least.
func (u *unpacker) count() int {
	n := u.number()
	if n < 0 || n > int64(len(u.b)) {
		u.b, u.short = nil, true
		return 0
	}
	return int(n)
}

func (u *unpacker) flags(all ...*bool) {
	n := u.number()
	for i, f := range all {
		*f = n&(1<<i) != 0
	}
}

func (u *unpacker) end() error {
	if u.short || len(u.b) > 0 {
		return errors.New("a parcel that is shorter or longer than what is in it")
	}
	return nil
}

// packMounts puts mounts into a memfd: their description, and behind it the contents of files, which may make a megabyte. Those that share
// their bytes have them there once. The reasons (Why) stay here.
func packMounts(mounts []Mount) (*os.File, error) {
	var p parcel
	var contents [][]byte
	var end int64
	at := make(map[*byte]int64)
	p.number(int64(len(mounts)))
	for i := range mounts {
		m := &mounts[i]
		offset, known := end, len(m.Data) == 0
		if !known {
			if offset, known = at[unsafe.SliceData(m.Data)]; !known {
				offset = end
				at[unsafe.SliceData(m.Data)] = offset
				contents = append(contents, m.Data)
				end += int64(len(m.Data))
			}
		}
		p.text(m.Kind)
		p.text(m.Source)
		p.text(m.Target)
		p.flags(m.ReadOnly, m.NoExec, m.Dev, m.Create, m.Own, m.IDMap, m.Late)
		p.number(m.Size)
		p.number(int64(m.Mode))
		p.number(offset)
		p.number(int64(len(m.Data)))
	}
	f, err := memfile("agentjail-mounts")
	if err != nil {
		return nil, err
	}
	for _, part := range slices.Insert(contents, 0, binary.NativeEndian.AppendUint64(nil, uint64(len(p.b))), p.b) {
		if _, err := f.Write(part); err != nil {
			f.Close()
			return nil, fmt.Errorf("memfd: %w", err)
		}
	}
	return f, nil
}

// memfile is a file in memory, which nobody executes: a host may refuse others (vm.memfd_noexec).
func memfile(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// unpackMounts gives them back, and closes f. The contents stay in f's memory, for as long as this process lives.
func unpackMounts(f *os.File) ([]Mount, error) {
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	all, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("mmap: %w", err)
	}
	if len(all) < 8 || binary.NativeEndian.Uint64(all) > uint64(len(all)-8) {
		return nil, errors.New("a parcel without its description")
	}
	described := 8 + binary.NativeEndian.Uint64(all)
	u, contents := unpacker{b: all[8:described]}, all[described:]
	mounts := make([]Mount, u.count())
	for i := range mounts {
		m := &mounts[i]
		m.Kind, m.Source, m.Target = u.text(), u.text(), u.text()
		u.flags(&m.ReadOnly, &m.NoExec, &m.Dev, &m.Create, &m.Own, &m.IDMap, &m.Late)
		m.Size, m.Mode = u.number(), uint32(u.number())
		offset, size := u.number(), u.number()
		if offset < 0 || size < 0 || offset > int64(len(contents))-size {
			return nil, fmt.Errorf("the content of mount %d lies outside what came", i)
		}
		m.Data = contents[offset : offset+size : offset+size]
	}
	return mounts, u.end()
}
