import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { counted } from '../../util/counted.ts'
import { paint } from '../color.ts'
import { CannotRun, type Command, FAILED, OK, type Session } from '../command.ts'
import { type StoryStep, story } from '../story.ts'

/** Maximum lines of a command's output to show. */
const SHOWN_LINES = 24
/** Only the last lines of a reference tool's output are shown. */
const LAST_LINES = 4
/** The first version of xfsprogs and Linux that supports all features of the image. */
const MIN_VERSION = [6, 10] as const
const MIB = 2 ** 20
const MAX_OUTPUT = 2 ** 28
const DEFAULT_IMAGE = 'xfskit-demo.img'

const demo: Command<{ image: string }> = {
  command: 'demo [image]',
  describe: 'demonstrate the main commands on a small image',
  examples: [['$0 demo', 'format, fill, share, damage, check and repair xfskit-demo.img; the image is kept']],
  builder: (yargs) =>
    yargs.positional('image', { type: 'string', default: DEFAULT_IMAGE, describe: 'image to create' }),
  handler: async ({ image }, session) => {
    if (image !== DEFAULT_IMAGE && existsSync(image))
      throw new CannotRun(`${image} exists; the demo creates a new image`)
    const folder = mkdtempSync(join(tmpdir(), 'xfskit-demo-'))
    try {
      if (image === DEFAULT_IMAGE) rmSync(image, { force: true })
      return await runStory(image, folder, session)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  },
}
export default demo

async function runStory(image: string, folder: string, session: Session): Promise<number> {
  const { out } = session
  const chalk = await paint(session)
  writeFiles(folder)
  for (const { title, steps } of story({ image, folder })) {
    out.styled(`${chalk.bold(`\n── ${title} ${'─'.repeat(70 - title.length)}`)}\n`)
    for (const step of steps) {
      const program = step.reference ? referenceTool(step.run[0] as string) : undefined
      if (step.reference && program === undefined) continue
      const words = step.reference ? step.run : ['xfskit', ...step.run]
      out.styled(`\n${step.text}\n${chalk.cyan(`$ ${words.map(quoted).join(' ')}`)}\n`)
      if (!runStep(step, session, program)) return FAILED
    }
  }
  out.styled(`${chalk.bold(`\n── Judges ${'─'.repeat(64)}`)}\n`)
  const content = readFileSync(join(folder, 'report.txt'), 'utf8')
  const verdicts = [repairVerdict(image), kernelVerdict(image, content)]
  for (const { text, good } of verdicts)
    out.styled(`${good === false ? chalk.red('✗') : good ? chalk.green('✓') : '–'} ${text}\n`)
  out.line(`\nThe image is ${image}: try xfskit ls -lR ${image}, or mount it.`)
  return verdicts.some(({ good }) => good === false) ? FAILED : OK
}

const quoted = (word: string): string => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word}'`)

function writeFiles(folder: string): void {
  const data = Buffer.alloc(4 * MIB)
  for (let at = 0; at < data.length; at += 4) data.writeUInt32LE(Math.imul(at, 2654435761) >>> 0, at)
  writeFileSync(join(folder, 'report.txt'), 'None of this needed a kernel.\n')
  writeFileSync(join(folder, 'data.bin'), data)
  writeFileSync(join(folder, 'copy.bin'), data)
  mkdirSync(join(folder, 'notes'))
  for (let i = 0; i < 5; i++) writeFileSync(join(folder, 'notes', `note ${i}.txt`), `${i}\n`)
}

/**
 * Run one command in a child process and show its output.
 *
 * @param program a reference tool
 * @returns whether the exit status is the expected one
 */
function runStep({ run, status = 0 }: StoryStep, { out }: Session, program: string | undefined): boolean {
  const [command, args] = program ? [program, run.slice(1)] : [process.execPath, [process.argv[1] as string, ...run]]
  const { stdout, stderr, status: ended } = spawnSync(command, args, { encoding: 'utf8', maxBuffer: MAX_OUTPUT })
  const output = `${stdout}${stderr}`.trimEnd()
  const lines = output === '' ? [] : output.split('\n')
  const shown = program ? LAST_LINES : SHOWN_LINES
  if (program && lines.length > shown) out.line(`  … ${counted(lines.length - shown, 'line')}`)
  for (const line of program ? lines.slice(-shown) : lines.slice(0, shown)) out.line(`  ${line}`)
  if (!program && lines.length > shown) out.line(`  … ${counted(lines.length - shown, 'more line')}`)
  if (program || ended !== 0) out.line(`  (exit status ${ended})`)
  out.flush()
  if (ended === status) return true
  out.message('error', 'xfskit demo', `exit status ${ended}, expected ${status}`)
  return false
}

interface Verdict {
  readonly text: string
  /** Undefined: the oracle is not available. */
  readonly good?: boolean
}

/** A tool of xfsprogs that supports the features of the image. */
const referenceTool = (name: string): string | undefined =>
  [process.env['XFSKIT_XFSPROGS'] ?? '/opt/xfsprogs/bin', '/usr/sbin', '/sbin']
    .map((folder) => join(folder, name))
    .find((tool) => existsSync(tool) && newEnough(spawnSync(tool, ['-V'], { encoding: 'utf8' }).stdout ?? ''))

function newEnough(text: string): boolean {
  const [, major, minor] = (/(\d+)\.(\d+)/.exec(text) ?? []).map(Number)
  if (major === undefined || minor === undefined) return false
  return major > MIN_VERSION[0] || (major === MIN_VERSION[0] && minor >= MIN_VERSION[1])
}

function repairVerdict(image: string): Verdict {
  const tool = referenceTool('xfs_repair')
  if (tool === undefined)
    return { text: `xfs_repair: skipped, version ${MIN_VERSION.join('.')} or newer is not installed` }
  const { status } = spawnSync(tool, ['-n', '-f', image], { stdio: 'ignore' })
  return {
    good: status === 0,
    text: `${tool} -n ${status === 0 ? 'finds no problems' : `has exit status ${status}`}`,
  }
}

/** Mount it read-only and compare a file. */
function kernelVerdict(image: string, content: string): Verdict {
  if (process.platform !== 'linux' || process.getuid?.() !== 0)
    return { text: 'kernel: skipped, mounting needs root on Linux' }
  if (!newEnough(release())) return { text: `kernel: skipped, it is older than ${MIN_VERSION.join('.')}` }
  const folder = mkdtempSync(join(tmpdir(), 'xfskit-mount-'))
  try {
    const { status, stderr } = spawnSync('mount', ['-t', 'xfs', '-o', 'ro,loop,nouuid', image, folder], {
      encoding: 'utf8',
    })
    if (status !== 0)
      return /unknown filesystem|loop device/.test(stderr)
        ? { text: 'the kernel has no XFS or no loop devices' }
        : { good: false, text: `the kernel: ${stderr.trim()}` }
    const good = readFileSync(join(folder, 'report.txt'), 'utf8') === content
    spawnSync('umount', [folder])
    return { good, text: `the kernel mounts it ${good ? 'and reads the same content' : 'but reads different content'}` }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
