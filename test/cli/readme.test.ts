import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { test } from 'node:test'
import { commands } from '../../src/cli/commands.ts'
import { program } from '../support/cli.ts'
import { judge } from '../support/judge.ts'
import { repoRoot, withTempDir } from '../support/temp.ts'

/**
 * The README is correct: its sessions are run in order in one folder, and their output must match.
 * `…` matches any text, and any lines if it is alone on a line. Columns may be wider or narrower.
 */
const readme = readFileSync(join(repoRoot(), 'README.md'), 'utf8')
const sessions = [...readme.matchAll(/^```console\n([\s\S]*?)^```/gm)].map(([, text]) => text as string)

interface Line {
  readonly command: string
  readonly shown: readonly string[]
}

function linesOf(session: string): Line[] {
  const lines: { command: string; shown: string[] }[] = []
  for (const line of session.trimEnd().split('\n')) {
    const last = lines.at(-1)
    if (line.startsWith('$ ')) lines.push({ command: line.slice(2), shown: [] })
    else if (last?.shown.length === 0 && last.command.endsWith('\\')) last.command += `\n${line}`
    else last?.shown.push(line)
  }
  return lines
}

const MARK = '@@ end of command'

/** The output of each command, both streams together. */
function run(lines: readonly Line[], folder: string, tools: string): string[] {
  const script = lines.map(({ command }) => `${command}\nstatus=$?; echo '${MARK}'; (exit $status)`).join('\n')
  const { stdout, error } = spawnSync('bash', ['-c', `exec 2>&1\n${script}`], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1', TZ: 'UTC', PATH: `${tools}${delimiter}${process.env['PATH']}` },
  })
  if (error) throw error
  return stdout.split(`${MARK}\n`).slice(0, lines.length)
}

function pattern(shown: readonly string[]): RegExp {
  const literal = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replace(/ {2,}/g, ' {2,}')
  const lines = shown.map((line) =>
    line.trim() === '…' ? '(?:.*\\n)*?' : `${line.trimEnd().split(/ *… */).map(literal).join('.*')} *\\n`,
  )
  return new RegExp(`^${lines.join('')}$`)
}

test('the sessions of the README print what they show', {
  skip: process.platform === 'win32' ? 'a shell is needed' : false,
}, () => {
  withTempDir((folder) => {
    const tools = join(folder, 'bin')
    const work = join(folder, 'work')
    mkdirSync(tools)
    mkdirSync(work)
    writeFileSync(join(tools, 'xfskit'), `#!/bin/sh\nexec '${process.execPath}' '${program()}' "$@"\n`)
    chmodSync(join(tools, 'xfskit'), 0o755)
    assert.ok(sessions.length > 0)
    for (const session of sessions) {
      const lines = linesOf(session)
      const said = run(lines, work, tools)
      lines.forEach(({ command, shown }, i) => {
        assert.match(said[i] ?? '(the shell ended before)', pattern(shown), `$ ${command}`)
      })
    }
    for (const file of readdirSync(work)) if (file.endsWith('.img')) judge(join(work, file))
  })
})

test('every command is in the README', () => {
  for (const { name } of commands) assert.match(readme, new RegExp(`xfskit ${name}\\b`), name)
})
