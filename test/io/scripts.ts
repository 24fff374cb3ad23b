// biome-ignore-all format: a table, a script a row

/**
 * Command lines of xfs_io, each run by the real one on a mounted twin and by ours on an image:
 * options, files to open, commands. They run in order on the same files, so a row may depend on
 * previous ones.
 */
export interface Script {
  readonly options?: readonly string[]
  readonly files?: readonly string[]
  readonly commands: readonly string[]
}

const on = (file: string, ...commands: string[]): Script => ({ files: [file], commands })
const made = (file: string, ...commands: string[]): Script => ({ options: ['-f'], files: [file], commands })
const readOnly = (file: string, ...commands: string[]): Script => ({ options: ['-r'], files: [file], commands })

export const scripts: readonly Script[] = [
  // calls that are refused before any change
  { files: ['nofile'], commands: ['stat'] },
  { commands: ['fsync', 'reflink a', 'print', 'stat', 'quit'] },
  made('a', 'nosuch', 'pwrite 0', 'pwrite zz 4k', 'pwrite 0 zz', 'pwrite -z 0 4k', 'pwrite -b', 'pwrite -S x 0 4k', 'pwrite -b x 0 4k', 'pwrite -s 4 0 4', 'truncate', 'truncate x', 'falloc 0', 'falloc -z 0 4k', 'fpunch 0', 'fpunch x 1', 'fpunch 0 x', 'pread 0', 'pread x 1', 'pread 0 x', 'seek', 'seek 0', 'seek 0 1', 'reflink', 'reflink a 0 0', 'reflink a x 0 0', 'reflink a 0 x 0', 'reflink a 0 0 x', 'dedupe a 0 0', 'dedupe a 0 0 x', 'help nosuch', 'bmap -z', 'fiemap -z', 'fiemap x', 'fiemap 0 x', 'chproj x', 'chproj -R -D 3', 'lsproj x', 'extsize x', 'cowextsize x', 'inode x', 'copy_range', 'copy_range -s x a', 'label -z', 'label x', 'fadvise -d', 'fadvise -d x 1', 'fzero 0 4k 4 5', 'stat -z', 'statx -m zz', 'statfs -z', 'lsattr -z', 'chattr z', 'chattr +z', 'chmod', 'chmod -z', 'file 3'),
  // reading and writing
  made('a', 'pwrite 0 4k', 'pread 0 4k', 'pread -v 0 40', 'pwrite -S 7 100 50', 'pread -v 90 80', 'pwrite -S 0x61 1k 3', 'pread -v 1020 20', 'pread 8k 10', 'pread 4090 100', 'pread -b 512 0 4k', 'pwrite -b 1k 8k 4k', 'pread 4k 4k', 'pwrite -q 0 100', 'pread -q 0 100', 'pread -C -q 0 4', 'pwrite 0 0', 'pread 0 0'),
  made('b', 'pwrite -O 0 64k', 'pwrite -R -Z 7 -b 4k 0 64k', 'pread -R -Z 9 0 64k', 'pread -B 64k 10000', 'pwrite -B 64k 64k', 'pwrite -B -b 4k 16k 8k', 'pread -B -b 4k 16k 8k', 'pwrite 0 8k', 'pwrite -w 0 4k', 'pwrite -W 0 4k', 'pwrite -D 0 4k', 'stat'),
  on('b', 'pwrite -V 4 -b 4k 0 64k'),
  on('b', 'pread -V 2 -b 1k 0 8k'),
  { options: ['-f', '-a'], files: ['ap'], commands: ['pwrite 0 100', 'pwrite 0 100', 'stat'] },
  readOnly('a', 'pwrite 0 4k', 'truncate 0', 'falloc 0 4k', 'fzero 0 4k', 'fpunch 0 4k', 'reflink b', 'pread 0 4', 'fcollapse 0 4k', 'funshare 0 4k', 'copy_range b', 'chattr +d', 'lsattr', 'chattr -d', 'fsync'),
  { options: ['-f', '-t'], files: ['c'], commands: ['pwrite 0 4k', 'stat'] },
  { options: ['-t'], files: ['c'], commands: ['stat'] },
  // space
  made('s', 'truncate 1m', 'falloc 64k 64k', 'falloc -k 2m 64k', 'stat', 'seek -a -r 0', 'pwrite 0 4k', 'pwrite 100k 10k', 'fpunch 2k 100k', 'fzero 0 8k', 'fzero -k 4m 4k', 'fsync', 'stat', 'fcollapse 0 4k', 'fcollapse 1 4k', 'finsert 8k 8k', 'finsert 1 4k', 'finsert 100m 4k', 'fcollapse 0 100m', 'stat', 'falloc 0 0', 'fpunch 0 0', 'falloc -p 0 4k', 'falloc -c 0 4k', 'falloc -i 0 4k', 'falloc -u 0 4k', 'resvsp 8k 8k', 'unresvsp 0 4k', 'zero 0 16k', 'allocsp 0 4k', 'freesp 0 4k', 'stat', 'truncate 10', 'stat', 'seek -a 0', 'seek -d 0', 'seek -h 0', 'seek -a -r -s 0', 'seek -d 9k', 'seek -h 9k', 'truncate 8e', 'truncate 9e'),
  made('s2', 'pwrite 0 64k', 'fpunch 4k 8k', 'fpunch 20k 4k', 'seek -a -r 0', 'seek -a -r 5k', 'seek -d 5k', 'seek -h 5k', 'seek -a -s 5k', 'seek -h 0', 'falloc 20k 4k', 'seek -a -r 0', 'falloc 1g 4k', 'stat'),
  // sharing
  made('r', 'reflink a', 'reflink nosuch', 'reflink a 0 0 4k', 'reflink a 0 8k 4k', 'reflink a 1 0 4k', 'reflink a 0 0 100m', 'reflink a 0 64k 0', 'reflink r 0 0 0', 'reflink r 0 1m 4k', 'reflink -q a 0 0 4k', 'stat', 'pread -v 0 20', 'lsattr'),
  made('u', 'pwrite -S 1 0 64k'),
  made('v', 'pwrite -S 1 0 64k', 'dedupe u 0 0 64k', 'dedupe u 0 0 100', 'dedupe u 0 0 5000', 'dedupe u 0 0 0', 'dedupe u 0 4k 64k', 'dedupe u 0 0 128k', 'dedupe u 100 0 4k', 'dedupe u 0 100 4k', 'dedupe nosuch 0 0 4k', 'dedupe v 0 4k 4k', 'dedupe v 0 0 4k', 'pwrite 0 1', 'dedupe u 0 0 4k', 'dedupe -q u 4k 4k 4k', 'funshare 0 16k', 'funshare 0 0', 'funshare 128k 4k', 'stat'),
  made('w', 'truncate 3g'),
  made('w2', 'truncate 3g', 'dedupe w 0 0 3g'),
  made('x', 'copy_range a', 'stat', 'pread -v 0 16', 'copy_range -s 100 -d 200 -l 300 a', 'copy_range -s 4k -d 1m -l 6000 u', 'stat', 'copy_range -s 100m a', 'copy_range -l 10 x', 'copy_range -s 0 -d 32k -l 4k x', 'copy_range -s 0 -d 1 -l 4k x', 'stat', 'copy_range -s 1050000 -d 0 -l 100m x', 'copy_range -s 100m -d 100m x', 'stat'),
  { files: ['x'], commands: ['copy_range nosuch', 'stat'] },
  made('far', 'reflink a 0 9223372036854767616 4096', 'stat', 'bmap', 'fiemap', 'fiemap -v', 'reflink a 0 9223372036854771712 8192', 'reflink a 0 9223372036854771712 4096', 'seek -a 0', 'truncate 10'),
  // up to the last possible byte of a file
  made('max', 'pwrite -S 0x58 9223372036854775806 1', 'stat', 'pread -v 9223372036854775800 7', 'pread 9223372036854775800 100', 'pread -v -b 3 9223372036854775797 10', 'pread 9223372036854775806 0x7fffffffffffffff', 'seek -a -r 0', 'seek -a -r -s 0', 'seek -d 9223372036854771713', 'seek -h 9223372036854771713', 'seek -a 9223372036854775807'),
  on('max', 'pwrite 9223372036854775806 2', 'pwrite 9223372036854775807 1', 'truncate 9223372036854775806', 'stat', 'truncate 9223372036854775807', 'stat', 'pread -v 9223372036854775800 7', 'truncate 9223372036854771713', 'stat', 'truncate 0x7ffffffffffff000', 'truncate 9007199254740993', 'stat', 'falloc -k 9007199254740993 5', 'stat', 'pread -v 9007199254740980 20', 'truncate 8e', 'stat'),
  made('max1', 'falloc 9223372036854775000 807', 'falloc 9223372036854775000 808', 'falloc -k 9223372036854775000 807', 'stat', 'pwrite -S 1 4611686018427387905 9000', 'fpunch 4611686018427388000 5000', 'fzero 4611686018427387905 100', 'fzero 9223372036854771712 4095', 'seek -a -r 0', 'pread -v 4611686018427387900 10', 'fpunch 4611686018427387904 4611686018427387903', 'fpunch 4611686018427387904 4611686018427387904', 'stat', 'truncate 4611686018427387905', 'finsert 0 4611686018427383808', 'stat', 'finsert 0 4611686018427387904', 'fcollapse 0 4611686018427383808', 'stat'),
  made('max2', 'pwrite -S 0x58 9223372036854771712 4095'),
  made('max3', 'reflink max2', 'stat', 'pwrite -S 0x58 9223372036854775806 1', 'dedupe max2 9223372036854771712 9223372036854771712 4095', 'dedupe max2 9223372036854771712 9223372036854771712 4096', 'pwrite -q -S 2 9223372036854771712 100', 'pread -v 9223372036854771800 30', 'dedupe max2 9223372036854771712 9223372036854771712 4095', 'reflink max2 9223372036854771712 9223372036854771712 4096', 'reflink max2 9223372036854771712 0 4095', 'reflink max2 9223372036854771712 9223372036854771712 0', 'stat', 'funshare 9223372036854771712 4095', 'copy_range -s 9223372036854775000 -d 9223372036854775000 -l 807 max2', 'copy_range -s 9223372036854775000 -d 9223372036854775001 max2', 'stat'),
  // flags, hints, projects
  made('f', 'lsattr', 'lsattr -v', 'lsattr -a', 'chattr +d', 'lsattr', 'chattr +sA -d', 'lsattr -v', 'chattr -sA', 'chattr +r', 'chattr +t', 'chattr +P', 'lsattr', 'chattr -P', 'extsize', 'extsize 64k', 'extsize', 'extsize 5', 'extsize 0', 'lsattr', 'cowextsize', 'cowextsize 128k', 'cowextsize', 'lsattr', 'cowextsize 7', 'cowextsize 1g', 'cowextsize 0', 'lsattr', 'lsproj', 'chproj 42', 'lsproj', 'chproj 4000000000', 'lsproj', 'chproj -1', 'pwrite 0 4k', 'extsize 64k', 'chattr +e', 'chattr +C', 'stat', 'chmod -r', 'stat', 'chmod -w'),
  on('f', 'chattr +a', 'lsattr', 'falloc 0 1m', 'truncate 0', 'reflink a', 'chattr -a', 'chattr +i', 'falloc 0 4k', 'reflink a', 'fpunch 0 4k', 'chattr -i', 'chattr +i'),
  on('f', 'stat'),
  { options: ['-a'], files: ['f'], commands: ['stat'] },
  readOnly('f', 'lsattr', 'reflink a', 'chattr -i', 'chattr +a'),
  on('f', 'stat'),
  { options: ['-a'], files: ['f'], commands: ['pwrite 0 4', 'stat', 'chattr -a'] },
  // names
  on('a', 'parent', 'parent -s', 'parent -n a', 'parent -n b', 'parent -i 128', 'parent -i 5', 'parent 128', 'parent 128 7', 'help parent', 'parent -i zz', 'print'),
  on('.', 'parent', 'parent -s'),
  // directories
  on('d', 'stat', 'lsattr', 'pwrite 0 1', 'pread 0 1', 'truncate 4', 'falloc 0 4k', 'reflink a', 'extsize 64k', 'cowextsize 64k', 'chattr +t', 'chattr +PEn', 'lsattr', 'lsattr -v', 'chproj 5', 'lsproj', 'lsattr -R', 'lsattr -D', 'lsproj -R', 'chproj -R 6', 'lsproj -R', 'lsproj -D', 'chattr -R +d', 'lsattr -R', 'chattr -D -d', 'lsattr -R', 'chattr -PEnt', 'extsize -R', 'cowextsize -D', 'fsync', 'syncfs', 'sync', 'fdatasync'),
  on('a', 'reflink d', 'dedupe d 0 0 4k', 'copy_range d', 'open d', 'print'),
  // the table of files
  { commands: ['open a', 'open d', 'print', 'file 0', 'file', 'file 7', 'close', 'print', 'close', 'print', 'close'] },
  { commands: ['open -r nosuch', 'open -z x', 'open', 'file', 'open -f q', 'pwrite 0 10', 'file 0', 'quit', 'print'] },
  { commands: ['open -r a', 'open -a ap', 'open -d a', 'open -s a', 'open -n a', 'open -m x a', 'open -P a', 'print', 'open', 'open -r a b'] },
  { files: ['a', 'b'], commands: ['pread 0 4', 'print', 'stat', 'fadvise -r', 'fadvise -d 0 4k', 'reflink b 0 0 4k'] },
  { files: ['sl'], commands: ['stat', 'print'] },
  { options: ['-L'], files: ['sl'], commands: ['stat'] },
  // information
  on('a', 'help print', 'help fsync', 'help fpunch', 'label', 'label -s foo', 'label', 'label -s thirteenchars', 'label -c', 'inode', 'inode -v', 'inode 99999', 'inode -nv 128', 'inode -n', 'inode -n 99999', 'statx', 'statx -m basic -r', 'statx -r', 'statx -m 0x800', 'stat -r', 'stat -rv', 'statfs -s', 'statfs -g', 'statfs -c', 'statfs'),
]
