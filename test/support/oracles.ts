import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { check } from '../../src/check/check.ts'
import { describe } from '../../src/check/findings.ts'
import { openFile } from '../../src/device/file.ts'
import { mkfsFile } from '../../src/mkfs/mkfsfile.ts'
import { parseOptions, parseSize } from '../../src/mkfs/options.ts'
import { Volume } from '../../src/volume.ts'
import { repoRoot } from './temp.ts'

/**
 * The external oracles: the newest xfsprogs (in $XFSKIT_XFSPROGS or /opt/xfsprogs/bin, see
 * test/oracle/install-xfsprogs.sh), the distribution's (on the PATH), the kernel, and Chromium
 * (on the PATH). If one is missing, its tests are reported as skipped. With XFSKIT_REQUIRE_ORACLES=1
 * they run, and fail.
 */

export interface Xfsprogs {
  readonly mkfs: string
  readonly repair: string
  readonly db: string
  readonly io: string
  readonly logprint: string
}

/** With XFSKIT_REQUIRE_ORACLES=1 nothing counts as missing: it is called, and fails. */
const required = process.env['XFSKIT_REQUIRE_ORACLES'] === '1'
const systemFolders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'].filter(Boolean)

function xfsprogsIn(folders: readonly string[]): Xfsprogs | undefined {
  const folder = folders.find((candidate) => existsSync(join(candidate, 'mkfs.xfs')))
  if (folder === undefined) return undefined
  const tool = (name: string): string => join(folder, name)
  return {
    mkfs: tool('mkfs.xfs'),
    repair: tool('xfs_repair'),
    db: tool('xfs_db'),
    io: tool('xfs_io'),
    logprint: tool('xfs_logprint'),
  }
}

/** XFSKIT_ORACLES=none: no oracle is used, as on a machine without any. */
const hidden = process.env['XFSKIT_ORACLES'] === 'none'
const newestFound = hidden ? undefined : xfsprogsIn([process.env['XFSKIT_XFSPROGS'] ?? '/opt/xfsprogs/bin'])
const distributionFound = hidden ? undefined : xfsprogsIn(systemFolders)

/**
 * Missing tools get paths that do not exist, so that a required test fails with a clear message.
 */
const missing: Xfsprogs = {
  mkfs: '/missing/mkfs.xfs', repair: '/missing/xfs_repair', db: '/missing/xfs_db', io: '/missing/xfs_io', logprint: '/missing/xfs_logprint',
} // biome-ignore format: one line

/**
 * The newest xfsprogs. xfs_io may be the distribution's, because it only passes requests to the
 * kernel.
 */
export const newest: Xfsprogs = newestFound ?? { ...missing, io: distributionFound?.io ?? missing.io }
export const distribution: Xfsprogs = distributionFound ?? missing

const browsers = ['chromium', 'chromium-browser', 'google-chrome']
const chromiumFound = hidden
  ? undefined
  : browsers.flatMap((name) => systemFolders.map((folder) => join(folder, name))).find((file) => existsSync(file))
export const chromium = chromiumFound ?? '/missing/chromium'

function kernelReason(): string | false {
  if (process.platform !== 'linux') return 'not Linux'
  if (hidden) return 'XFSKIT_ORACLES=none'
  if (process.getuid?.() !== 0) return 'mounting needs root'
  const known = /\bxfs\b/.test(readFileSync('/proc/filesystems', 'utf8')) || spawnSync('modprobe', ['xfs']).status === 0
  if (!known) return 'the kernel has no XFS'
  return spawnSync('losetup', ['-f']).status === 0 ? false : 'no loop devices'
}

const unlessRequired = (reason: string | false): string | false => (required ? false : reason)

/** For `test(name, { skip: skip.newest }, …)`: the reason for skipping, or false. */
export const skip = {
  newest: unlessRequired(newestFound ? false : 'the newest xfsprogs is not installed'),
  distribution: unlessRequired(distributionFound ? false : 'xfsprogs is not installed'),
  chromium: unlessRequired(chromiumFound ? false : 'Chromium is not installed'),
  kernel: unlessRequired(kernelReason() || (newestFound || distributionFound ? false : 'xfsprogs is not installed')),
}

/** Packages that are no dependencies, for tests of the package: `npm ci --prefix .tools/outside`. */
export const outside = join(repoRoot(), '.tools', 'outside', 'node_modules')
export const outsideSkip = unlessRequired(existsSync(outside) ? false : '.tools/outside is not installed')

/** mkfs.xfs refuses images under 300 MB, except for tests. */
export const smallAllowed = { TEST_DIR: '1', TEST_DEV: '1', QA_CHECK_FS: '1' }

/**
 * Make an image with mkfs.xfs, or with ours, which writes the same bytes, if it is missing. `size`
 * as for mkfs: 300m.
 */
export function makeImage(image: string, size: string, args: readonly string[] = [], tools: Xfsprogs = newest): void {
  if (!required && !existsSync(tools.mkfs)) {
    makeOurs(image, size, args)
    return
  }
  execFileSync('truncate', ['-s', '0', image])
  execFileSync('truncate', ['-s', size.toUpperCase(), image])
  execFileSync(tools.mkfs, ['-q', '-f', ...args, image], {
    env: { ...process.env, ...smallAllowed },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
}

function makeOurs(image: string, size: string, args: readonly string[]): void {
  const texts: Record<string, string[]> = {}
  for (let i = 0; i < args.length; i += 2) {
    const letter = (args[i] as string).slice(1)
    texts[letter] = [...(texts[letter] ?? []), args[i + 1] as string]
  }
  const { L: label, ...rest } = texts
  const options = parseOptions({ ...rest, ...(label && { label: label[0] as string }) })
  mkfsFile(image, { ...options, imageSize: parseSize(size, '--size'), existing: 'overwrite' })
}

/** The findings of our check, as sentences. */
export function checkFindings(image: string): string[] {
  const volume = Volume.open(openFile(image, 'r'))
  try {
    return check(volume.device, volume.geometry).findings.list.map((finding) => `${finding.id}: ${describe(finding)}`)
  } finally {
    volume.close()
  }
}

/**
 * The complaints of `xfs_repair -n`, or of our check if it is missing; empty if the image is sound.
 */
export function repairComplaints(image: string, tools: Xfsprogs = newest): string | undefined {
  if (!required && !existsSync(tools.repair)) {
    const findings = checkFindings(image)
    return findings.length === 0 ? undefined : findings.join('\n')
  }
  const { status, stdout, stderr } = spawnSync(tools.repair, ['-n', '-f', image], {
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  })
  return status === 0 ? undefined : `xfs_repair -n: exit status ${status}\n${stdout}${stderr}`
}

export interface MountOptions {
  /** Mount options: ro, norecovery … */
  readonly options?: string
  /** The kernel may complain. */
  readonly anyComplaint?: boolean
}

/**
 * Mount the image through a loop device, call `use` with the folder, unmount.
 * @throws errors of `use`, and if the kernel complains about the image
 */
export function mountImage<T>(
  image: string,
  use: (folder: string) => T,
  { options, anyComplaint }: MountOptions = {},
): T {
  const folder = mkdtempSync(join(tmpdir(), 'xfskit-mount-'))
  const loop = execFileSync('losetup', ['-f', '--show', ...(options?.split(',').includes('ro') ? ['-r'] : []), image], {
    encoding: 'latin1',
  }).trim()
  const marks = kernelLog()
  let mounted = false
  try {
    execFileSync('mount', ['-t', 'xfs', '-o', ['nouuid', options].filter(Boolean).join(','), loop, folder], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    mounted = true
    const result = use(folder)
    unmount(folder)
    mounted = false
    const complaints = anyComplaint ? [] : complaintsSince(marks, loop)
    if (complaints.length > 0) throw new Error(`the kernel complains:\n${complaints.join('\n')}`)
    return result
  } finally {
    if (mounted) unmount(folder)
    spawnSync('losetup', ['-d', loop])
    rmdirSync(folder)
  }
}

function unmount(folder: string): void {
  for (let attempt = 0; ; attempt++) {
    const { status, stderr } = spawnSync('umount', [folder], { encoding: 'utf8' })
    if (status === 0) return
    if (attempt === 20) throw new Error(stderr)
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100)
  }
}

const kernelLog = (): string[] =>
  (spawnSync('dmesg', [], { encoding: 'utf8', maxBuffer: 2 ** 28 }).stdout ?? '').split('\n')

/** Messages of the kernel about `loop` since then; other tests run at the same time. */
function complaintsSince(before: readonly string[], loop: string): string[] {
  const now = kernelLog()
  const last = before.at(-2)
  const start = last === undefined ? 0 : now.lastIndexOf(last) + 1
  const device = `XFS (${loop.replace('/dev/', '')})`
  return now
    .slice(start)
    .filter((line) => line.includes(device) && /corrupt|error|assert|fail|inconsist|warn/i.test(line))
    .filter((line) => !/EXPERIMENTAL|shutdown|Shutting down|log mount\/recovery|Deprecated/i.test(line))
}

/**
 * Mount, call `use`, then stop as in a crash: the changes are only in the log. The image is left
 * with a dirty log.
 */
export function crashImage(image: string, use: (folder: string) => void): void {
  const crash = (folder: string): void => {
    use(folder)
    execFileSync(newest.io, ['-x', '-c', 'shutdown -f', folder], { stdio: ['ignore', 'ignore', 'pipe'] })
  }
  mountImage(image, crash, { anyComplaint: true })
}
