import type { Entry } from './command.ts'

/** Every command: name and one line for --help; the module is loaded when the command runs. */
export const commands: readonly Entry[] = [
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
  { name: 'stat', describe: 'all that is known of a file', load: () => import('./commands/stat.ts') },
  { name: 'cat', describe: 'write the content of files to standard output', load: () => import('./commands/cat.ts') },
  { name: 'find', describe: 'look for files by name, type, size, time …', load: () => import('./commands/find.ts') },
  { name: 'du', describe: 'what files and trees take, share, and would free', load: () => import('./commands/du.ts') },
  { name: 'tree', describe: 'draw a directory tree', load: () => import('./commands/tree.ts') },
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
  { name: 'mkdir', describe: 'make directories', load: () => import('./commands/mkdir.ts') },
  { name: 'rm', describe: 'remove files and trees', load: () => import('./commands/rm.ts') },
  { name: 'mv', describe: 'rename and move files and directories', load: () => import('./commands/mv.ts') },
  {
    name: 'ln',
    describe: 'give a file a further name, or make a symbolic link',
    load: () => import('./commands/ln.ts'),
  },
  { name: 'chmod', describe: 'change permissions', load: () => import('./commands/chmod.ts') },
  { name: 'chown', describe: 'change the owner', load: () => import('./commands/chown.ts') },
  { name: 'touch', describe: 'set times; make a file that is not there', load: () => import('./commands/touch.ts') },
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
  { name: 'mknod', describe: 'make a device node, fifo or socket', load: () => import('./commands/mknod.ts') },
  { name: 'lsattr', describe: 'show flags, project and hints of files', load: () => import('./commands/lsattr.ts') },
  { name: 'chattr', describe: 'change flags, project and hints of files', load: () => import('./commands/chattr.ts') },
  {
    name: 'fiemap',
    describe: "print a file's extents, with the shared flag",
    load: () => import('./commands/fiemap.ts'),
  },
  {
    name: 'reflink',
    describe: 'share blocks of one file with another: FICLONE, FICLONERANGE',
    load: () => import('./commands/reflink.ts'),
  },
  {
    name: 'dedupe',
    describe: 'share blocks of two files where both hold the same bytes: FIDEDUPERANGE',
    load: () => import('./commands/dedupe.ts'),
  },
  {
    name: 'unshare',
    describe: 'give a file its own copy of what it shares: FALLOC_FL_UNSHARE_RANGE',
    load: () => import('./commands/unshare.ts'),
  },
  { name: 'fsr', describe: 'put the blocks of files together', load: () => import('./commands/fsr.ts') },
  { name: 'fsmap', describe: 'who owns every block', load: () => import('./commands/fsmap.ts') },
  {
    name: 'shares',
    describe: 'which files share blocks with a file; how many blocks have how many owners',
    load: () => import('./commands/shares.ts'),
  },
  { name: 'io', describe: "xfs_io's commands on files of the image", load: () => import('./commands/io.ts') },
  { name: 'dump', describe: 'records of a btree', load: () => import('./commands/dump.ts') },
  {
    name: 'db',
    tool: 'xfs_db',
    describe: 'look at any structure, and change it, as xfs_db',
    load: () => import('./commands/db.ts'),
  },
  { name: 'check', describe: 'find every inconsistency', load: () => import('./commands/check.ts') },
  {
    name: 'repair',
    describe: 'repair what follows from inodes and files',
    load: () => import('./commands/repair.ts'),
  },
  {
    name: 'shims',
    describe: 'make links by the names of the reference tools',
    load: () => import('./commands/shims.ts'),
  },
  {
    name: 'completion',
    describe: 'print the completion for bash and zsh',
    load: () => import('./commands/completion.ts'),
  },
  {
    name: 'recover',
    describe: 'replay what a killed xfskit left in the log',
    load: () => import('./commands/recover.ts'),
  },
  {
    name: 'demo',
    describe: 'the whole story on a small image, start to finish',
    load: () => import('./commands/demo.ts'),
  },
]
