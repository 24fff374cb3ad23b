import type { CommandEntry } from './command.ts'

/** Every command: name and one line for --help; the module is loaded when the command runs. */
export const commands: readonly CommandEntry[] = [
  {
    name: 'mkfs',
    tool: 'mkfs.xfs',
    describe: 'make a filesystem, as mkfs.xfs',
    load: () => import('./commands/mkfs.ts'),
  },
  {
    name: 'info',
    tool: 'xfs_info',
    describe: 'print geometry and features, as xfs_info',
    load: () => import('./commands/info.ts'),
  },
  { name: 'ls', describe: 'list files', load: () => import('./commands/ls.ts') },
  { name: 'stat', describe: 'show inode details', load: () => import('./commands/stat.ts') },
  { name: 'cat', describe: 'write the content of files to standard output', load: () => import('./commands/cat.ts') },
  { name: 'find', describe: 'search for files by name, type, size, time …', load: () => import('./commands/find.ts') },
  {
    name: 'du',
    describe: 'show referenced, shared and exclusive space of files and trees',
    load: () => import('./commands/du.ts'),
  },
  { name: 'tree', describe: 'print a directory tree', load: () => import('./commands/tree.ts') },
  {
    name: 'put',
    describe: 'copy files and trees into the image, with all attributes',
    load: () => import('./commands/put.ts'),
  },
  {
    name: 'get',
    describe: 'copy files and trees out of the image, with all attributes',
    load: () => import('./commands/get.ts'),
  },
  { name: 'mkdir', describe: 'create directories', load: () => import('./commands/mkdir.ts') },
  { name: 'rm', describe: 'remove files and trees', load: () => import('./commands/rm.ts') },
  { name: 'mv', describe: 'rename and move files and directories', load: () => import('./commands/mv.ts') },
  {
    name: 'ln',
    describe: 'create a hard link or a symbolic link',
    load: () => import('./commands/ln.ts'),
  },
  { name: 'chmod', describe: 'change permissions', load: () => import('./commands/chmod.ts') },
  { name: 'chown', describe: 'change the owner', load: () => import('./commands/chown.ts') },
  { name: 'touch', describe: 'set timestamps; create missing files', load: () => import('./commands/touch.ts') },
  { name: 'truncate', describe: 'set the size of files', load: () => import('./commands/truncate.ts') },
  {
    name: 'write',
    describe: 'write standard input or a file into a file of the image',
    load: () => import('./commands/write.ts'),
  },
  {
    name: 'xattr',
    describe: 'list, get, set and remove extended attributes, and access control lists',
    load: () => import('./commands/xattr.ts'),
  },
  { name: 'mknod', describe: 'create a device node, fifo or socket', load: () => import('./commands/mknod.ts') },
  {
    name: 'lsattr',
    describe: 'show inode flags, project ID and extent size hints',
    load: () => import('./commands/lsattr.ts'),
  },
  {
    name: 'chattr',
    describe: 'change inode flags, project ID and extent size hints',
    load: () => import('./commands/chattr.ts'),
  },
  {
    name: 'fiemap',
    describe: "print a file's extents and which are shared",
    load: () => import('./commands/fiemap.ts'),
  },
  {
    name: 'reflink',
    describe: 'share blocks of one file with another (FICLONE, FICLONERANGE)',
    load: () => import('./commands/reflink.ts'),
  },
  {
    name: 'dedupe',
    describe: 'share blocks of two files with the same content (FIDEDUPERANGE)',
    load: () => import('./commands/dedupe.ts'),
  },
  {
    name: 'unshare',
    describe: 'copy the shared blocks of a file (FALLOC_FL_UNSHARE_RANGE)',
    load: () => import('./commands/unshare.ts'),
  },
  { name: 'fsr', describe: 'defragment files', load: () => import('./commands/fsr.ts') },
  { name: 'fsmap', describe: 'show the owner of every block', load: () => import('./commands/fsmap.ts') },
  {
    name: 'shares',
    describe: 'show which files share blocks with a file, or count blocks by number of owners',
    load: () => import('./commands/shares.ts'),
  },
  { name: 'io', describe: 'run the commands of xfs_io on files of the image', load: () => import('./commands/io.ts') },
  { name: 'dump', describe: 'print the records of a btree', load: () => import('./commands/dump.ts') },
  {
    name: 'db',
    tool: 'xfs_db',
    describe: 'print and change on-disk structures, as xfs_db',
    load: () => import('./commands/db.ts'),
  },
  {
    name: 'logprint',
    tool: 'xfs_logprint',
    describe: 'print the log, as xfs_logprint',
    load: () => import('./commands/logprint.ts'),
  },
  { name: 'check', describe: 'check the filesystem for inconsistencies', load: () => import('./commands/check.ts') },
  {
    name: 'repair',
    describe: 'repair metadata that can be derived from inodes and files',
    load: () => import('./commands/repair.ts'),
  },
  {
    name: 'shims',
    describe: 'create links named like the reference tools',
    load: () => import('./commands/shims.ts'),
  },
  {
    name: 'schema',
    describe: 'print the JSON Schema of the output of a command',
    load: () => import('./commands/schema.ts'),
  },
  {
    name: 'completion',
    describe: 'print a completion script for bash and zsh',
    load: () => import('./commands/completion.ts'),
  },
  {
    name: 'recover',
    describe: 'replay the log of an interrupted xfskit',
    load: () => import('./commands/recover.ts'),
  },
  { name: 'undo', describe: 'undo a repair with its undo file', load: () => import('./commands/undo.ts') },
  {
    name: 'demo',
    describe: 'demonstrate the main commands on a small image',
    load: () => import('./commands/demo.ts'),
  },
]
