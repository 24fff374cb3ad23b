import { counted } from '../../util/counted.ts'
import { actionText, isWrong, type RepairTargetResult, repair as repairImage } from '../../xfsimage/repairs.ts'
import { changeOptions, hostPath, type ImageArguments, parseCount } from '../arguments.ts'
import { type Command, FAILED, OK, UsageError } from '../command.ts'
import { changeOptionsOf, changing } from '../open.ts'
import type { Output } from '../output.ts'
import { listed } from '../reports.ts'

/** Problems were repaired (with -e, as xfs_repair), or only some of them (with --partial). */
const CHANGED = 4

/** Suboptions of xfs_repair's -o, accepted without effect. */
const SUBOPTIONS: Readonly<Record<string, 'flag' | 'number'>> = {
  bhash: 'number', ihash: 'number', ag_stride: 'number', phase2_threads: 'number', force_geometry: 'flag', assume_xfs: 'flag', noquota: 'flag',
  debug_bload_leaf_slack: 'number', debug_bload_node_slack: 'number',
} // biome-ignore format: pairs

interface Arguments extends ImageArguments {
  readonly image: string
  readonly exitStatus?: boolean
  readonly partial?: boolean
  readonly undo?: string
  readonly discardLog?: boolean
  readonly o?: readonly string[]
  readonly m?: string
  readonly t?: string
}

const repair: Command<Arguments> = {
  command: 'repair <image>',
  describe: 'repair btrees, AGFL and counters from inodes and files, and extents from rmapbt',
  examples: [
    ['$0 repair -n disk.img', 'print what would be done; exit status 1 if there are problems'],
    ['$0 repair disk.img', 'repair if everything can be repaired; with -e exit status 4 if there were problems'],
    ['$0 repair --partial disk.img', 'repair what can be repaired; exit status 4 if problems are left'],
  ],
  usageStatus: FAILED,
  plan: () => ({}),
  unsupported: ['-V', '-c', '-d', '-l', '-r'],
  builder: (yargs) =>
    changeOptions(yargs, { short: false })
      .positional('image', { type: 'string', demandOption: true, describe: 'image file or block device' })
      .alias('n', 'dry-run')
      .option('exit-status', { alias: 'e', type: 'boolean', describe: 'exit status 4 if problems were repaired' })
      .option('partial', { type: 'boolean', describe: 'repair even if some problems cannot be repaired' })
      .option('discard-log', {
        alias: 'L',
        type: 'boolean',
        describe: 'discard a dirty log and the changes in it, which cannot be replayed',
      })
      .option('undo', {
        type: 'string',
        requiresArg: true,
        describe: 'a file that gets the old content of what is written, for xfskit undo; it must not exist',
      })
      .conflicts('exit-status', 'dry-run')
      .conflicts('undo', ['dry-run', 'output'])
      .option('o', {
        type: 'string',
        array: true,
        requiresArg: true,
        describe: `accepted for xfs_repair, without effect: ${Object.keys(SUBOPTIONS).join(', ')}`,
      })
      .option('m', { type: 'string', requiresArg: true, describe: 'without effect: memory in MiB' })
      .option('t', { type: 'string', requiresArg: true, describe: 'without effect: seconds between reports' })
      .option('v', { type: 'boolean', describe: 'without effect' })
      .option('P', { type: 'boolean', describe: 'without effect' })
      .option('f', { type: 'boolean', describe: 'without effect: the image is a file' }),
  handler: async (args, { out }) => {
    for (const words of args.o ?? []) for (const word of words.split(',')) requireSuboption(word)
    for (const letter of ['m', 't'] as const) {
      const value = args[letter]
      if (value !== undefined) parseCount(value, `-${letter}`)
    }
    const { image } = args
    const options = {
      ...changeOptionsOf({ out }, image, args),
      partial: args.partial === true,
      discardLog: args.discardLog === true,
      ...(args.undo !== undefined && { undo: hostPath(args.undo) }),
    }
    const result = await changing(image, args, () => repairImage({ path: hostPath(image) }, options))
    const dryRun = args.dryRun === true
    if (result.recovered) {
      const { blocks } = result.recovered
      const done = `the log ${dryRun ? 'would be' : 'was'} replayed: ${counted(blocks, 'block')}`
      out.message('note', 'xfskit repair', `${image}: ${done}`)
    }
    if (result.discarded) {
      const { transactions } = result.discarded
      const what = transactions === undefined ? 'it cannot be read to its end' : counted(transactions, 'transaction')
      out.message('warning', 'xfskit repair', `${image}: the log ${dryRun ? 'would be' : 'was'} discarded: ${what}`)
    }
    printRepair(out, image, result, dryRun)
    return statusOf(result, args)
  },
}
export default repair

/** @throws UsageError */
function requireSuboption(word: string): void {
  const [, name = '', value] = /^([^=]*)(?:=(.*))?$/s.exec(word) ?? []
  const kind = Object.hasOwn(SUBOPTIONS, name) ? SUBOPTIONS[name] : undefined
  if (kind === undefined) throw new UsageError(`unknown option -o ${name}`)
  if (kind === 'number' && value === undefined) throw new UsageError(`-o ${name} needs a value`)
  if (kind === 'number' && value !== undefined) parseCount(value, `-o ${name}`)
  if (kind === 'flag' && value !== undefined) throw new UsageError(`-o ${name} takes no value`)
}

function statusOf({ before, after, changed, declined }: RepairTargetResult, { dryRun, exitStatus }: Arguments): number {
  const refused = declined.length > 0
  if (dryRun === true) return isWrong(before) || refused ? FAILED : OK
  if (isWrong(after) || refused) return changed ? CHANGED : FAILED
  return exitStatus === true && isWrong(before) ? CHANGED : OK
}

function printRepair(out: Output, image: string, result: RepairTargetResult, dryRun: boolean): void {
  const { changed, declined, recovered } = result
  const before = listed(result.before)
  const left = listed(result.after)
  const actions = result.actions.map((action) => ({ ...action, text: actionText(action) }))
  const nothing = { findings: [], omitted: [], total: 0 }
  const replayed = recovered && { transactions: recovered.transactions, blocks: recovered.blocks }
  const value = {
    image,
    ...(dryRun && { dryRun }),
    changed,
    replayed,
    before,
    actions,
    after: dryRun ? nothing : left,
    declined,
  }
  out.document('repair', value, () => {
    const lines = before.findings.map(({ id, message }) => `${message}  [${id}]`)
    for (const { id, count } of before.omitted) lines.push(`and ${count} more  [${id}]`)
    for (const { text } of actions) lines.push(`${dryRun ? 'would ' : ''}${text}`)
    if (!dryRun && left.findings.length > 0)
      lines.push('left:', ...left.findings.map(({ id, message }) => `  ${message}  [${id}]`))
    if (declined.length > 0)
      lines.push('what depends on this is uncertain, and not repaired:', ...declined.map(({ reason }) => `  ${reason}`))
    if (before.findings.length + declined.length === 0) lines.push('no inconsistencies')
    else if (!changed) lines.push('nothing was written')
    else if (left.findings.length === 0) lines.push('repaired; a second check found no problems')
    return lines.join('\n')
  })
}
