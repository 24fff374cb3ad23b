import { FORK_NAMES, type ForkName, isAgTree, type TreeName, treeNames } from '../../xfsimage/trees.ts'
import { type ImageArguments, imageOptions, optionalCount } from '../arguments.ts'
import { type Command, FAILED, OK, UsageError } from '../command.ts'
import { withImage } from '../open.ts'
import { streamHead } from '../output.ts'

interface Arguments extends ImageArguments {
  readonly image: string
  readonly tree: TreeName
  readonly agno?: number
  readonly ino?: number
  readonly fork?: ForkName
}

/** Maximum faults that are reported one by one. */
const MOST_FAULTS = 100

const dump: Command<Arguments> = {
  command: 'dump <image> <tree>',
  describe: 'print the records of a btree',
  examples: [
    ['$0 dump disk.img refcountbt', 'shared blocks and their reference counts'],
    ['$0 dump disk.img rmapbt --agno 1 --json', 'owners of the blocks of AG 1, one JSON object per line'],
    ['$0 dump disk.img bmbt --ino 131', 'the extents of a file'],
  ],
  builder: (yargs) =>
    imageOptions(yargs)
      .positional('image', { type: 'string', demandOption: true, describe: 'image file or block device' })
      .positional('tree', { choices: treeNames, demandOption: true, describe: 'the btree' })
      .option('agno', {
        type: 'string',
        describe: 'one AG (default: all)',
        requiresArg: true,
        coerce: optionalCount('--agno'),
      })
      .option('ino', {
        type: 'string',
        describe: 'bmbt of one inode (default: all)',
        requiresArg: true,
        coerce: optionalCount('--ino'),
      })
      .option('fork', { choices: FORK_NAMES, describe: 'bmbt of the data or the attribute fork', requiresArg: true })
      .conflicts('agno', 'ino'),
  handler: ({ image, tree, agno, ino, fork, ...place }, session) =>
    withImage(session, image, 'read', place, (opened) => {
      const { out } = session
      if (isAgTree(tree) && (ino !== undefined || fork !== undefined)) {
        throw new UsageError(`--ino and --fork are for bmbt; ${tree} is a btree of AGs`)
      }
      let faults = 0
      opened.dump(tree, {
        form: out.form,
        head: streamHead(`dump.${tree}`),
        ...(agno !== undefined && { agno }),
        ...(ino !== undefined && { ino }),
        ...(fork !== undefined && { fork }),
        emit: (bytes) => out.bytes(bytes),
        stop: () => out.closed,
        fault: (message) => {
          if (++faults <= MOST_FAULTS) out.message('error', 'xfskit dump', message)
        },
      })
      if (faults > MOST_FAULTS) out.message('error', 'xfskit dump', `and ${faults - MOST_FAULTS} more faults`)
      return faults > 0 ? FAILED : OK
    }),
}
export default dump
