import { counted } from '../../util/counted.ts'
import { type RecoverResult, recover as recoverImage } from '../../xfsimage/repairs.ts'
import { changeOptions, hostPath, type ImageArguments } from '../arguments.ts'
import { type Command, DIRTY_LOG, OK } from '../command.ts'
import { changeOptionsOf, changesText, changing } from '../open.ts'

const recover: Command<ImageArguments & { image: string }> = {
  command: 'recover <image>',
  describe: 'replay the log of an interrupted xfskit, free unlinked inodes and CoW leftovers',
  examples: [
    ['$0 recover disk.img', 'write the changes in the log to their places; exit status 2: not or not fully recovered'],
  ],
  builder: (yargs) =>
    changeOptions(yargs).positional('image', {
      type: 'string',
      demandOption: true,
      describe: 'image file or block device',
    }),
  handler: async (args, { out }) => {
    const { image, dryRun = false } = args
    const { changes, ...recovered } = await changing(image, args, () =>
      recoverImage({ path: hostPath(image) }, changeOptionsOf({ out }, image, args)),
    )
    if (dryRun) out.line(changesText(changes))
    out.document('recover', { image, ...(dryRun && { dryRun }), ...recovered }, () => report(recovered, dryRun))
    return recovered.refused === undefined ? OK : DIRTY_LOG
  },
}
export default recover

/** The steps that were done, one line each. */
function report(recovered: Omit<RecoverResult, 'changes'>, dryRun: boolean): string {
  const { transactions, blocks, inodes, cowBlocks, unmarked, refused } = recovered
  const would = dryRun ? 'would be ' : ''
  const lines: string[] = []
  if (transactions > 0)
    lines.push(`${counted(transactions, 'transaction')} ${would}replayed: ${counted(blocks, 'block')}`)
  if (inodes > 0) lines.push(`${counted(inodes, 'unlinked inode')} ${would}freed`)
  if (cowBlocks > 0) lines.push(`${counted(cowBlocks, 'CoW staging block')} ${would}freed`)
  if (unmarked) lines.push(`a check found no problems: NEEDSREPAIR ${would}cleared`)
  if (refused !== undefined)
    lines.push(`not recovered${lines.length > 0 ? ' further' : ''}: ${refused}; run xfskit repair`)
  return lines.length === 0 ? 'the log is clean' : lines.join('\n')
}
