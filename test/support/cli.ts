import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { repoRoot, tempDir } from './temp.ts'

export interface Ran {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly input?: string | Uint8Array
  readonly cwd?: string
}

let unbundled: string | undefined

/**
 * The program as a user starts it: bin/xfskit.js with the bundle. Tests that were compiled into
 * another folder than dist/ start the program compiled with them.
 */
export function program(): string {
  const main = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))
  if (main.startsWith(join(repoRoot(), 'dist'))) return join(repoRoot(), 'bin', 'xfskit.js')
  if (unbundled === undefined) {
    unbundled = join(tempDir(), 'xfskit.mjs')
    writeFileSync(
      unbundled,
      `#!${process.execPath}\nconst { main } = await import(${JSON.stringify(main)})\nprocess.exitCode = await main()\n`,
      { mode: 0o755 },
    )
  }
  return unbundled
}

/** Run xfskit as a separate process. */
export function xfskit(args: readonly string[], { env, input, cwd }: RunOptions = {}): Ran {
  const { status, stdout, stderr, error } = spawnSync(process.execPath, [program(), ...args], {
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1', ...env },
    maxBuffer: 2 ** 29,
    ...(input === undefined ? {} : { input }),
    ...(cwd === undefined ? {} : { cwd }),
  })
  if (error) throw error
  return { status, stdout, stderr }
}

/** Run xfskit, which must succeed; returns its output. */
export function xfskitOk(args: readonly string[], options?: RunOptions): string {
  const { status, stdout, stderr } = xfskit(args, options)
  if (status !== 0) throw new Error(`xfskit ${args.join(' ')}: exit status ${status}\n${stdout}${stderr}`)
  return stdout
}

/** The records of a command with `--json`: after the line with the schema, an object per line. */
export function xfskitRecords<Rec = Record<string, unknown>>(args: readonly string[], options?: RunOptions): Rec[] {
  return recordsOf<Rec>(xfskitOk([...args, '--json'], options))
}

/** The records of such output, whose first line has the schema. */
export function recordsOf<Rec = Record<string, unknown>>(output: string): Rec[] {
  const [head, ...records] = output
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  assert.match(head.schema, /^xfskit\./)
  assert.equal(head.version, 1)
  return records
}
