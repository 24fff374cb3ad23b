import assert from 'node:assert/strict'
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { Ajv } from 'ajv'
import { problemIds } from '../../src/xfsimage/findings.ts'
import { xfskit } from '../support/cli.ts'
import { outside, outsideSkip } from '../support/oracles.ts'
import { repoRoot, tempDir } from '../support/temp.ts'

/** `check --format`: what CI servers read. */
const folder = tempDir()

function unpack(fixture: string, name = `${fixture}.img`): string {
  const path = join(folder, name)
  writeFileSync(path, gunzipSync(readFileSync(join(repoRoot(), 'fixtures', fixture, 'image.gz'))))
  return path
}

const clean = unpack('clean')
/** With the characters that the formats escape, where the host permits them. */
const odd = process.platform === 'win32' ? "a, 100% & 'b'.img" : 'a: b, 100% & "c" <d>.img'
const damaged = unpack('refcountbt.high', odd)
const harmless = unpack('cow.leftover')
const short = unpack('clean', 'short.img')
truncateSync(short, 100)
const images = { clean, damaged, harmless, short }

function report(format: string, image: string) {
  const { status, stdout, stderr } = xfskit(['check', '--format', format, image])
  return { status, text: stdout, stderr }
}

test('the exit status is that of check, in each format; what cannot be checked is in the report, too', () => {
  for (const format of ['text', 'json', 'sarif', 'junit', 'github'])
    assert.deepEqual(
      Object.values(images).map((image) => report(format, image).status),
      [0, 1, 0, 3],
      format,
    )
  assert.equal(report('xml', clean).status, 3)
  const both = xfskit(['check', '--json', '--format', 'junit', clean])
  assert.equal(both.status, 3)
  assert.match(both.stderr, /exclude each other/)
})

/** The schema of OASIS, from a package that has it. */
const SCHEMA = join(outside, '@microsoft', 'jest-sarif', 'lib', 'schemas', 'sarif-2.1.0-rtm.5.json')

interface Sarif {
  readonly version: string
  readonly runs: readonly {
    readonly tool: { readonly driver: { readonly name: string; readonly rules: readonly { readonly id: string }[] } }
    readonly invocations: readonly { readonly executionSuccessful: boolean }[]
    readonly results: readonly {
      readonly ruleId: string
      readonly ruleIndex: number
      readonly level: string
      readonly message: { readonly text: string }
      readonly locations: readonly {
        readonly physicalLocation: { readonly artifactLocation: { readonly uri: string; readonly index: number } }
      }[]
    }[]
  }[]
}

test('SARIF: rules, results and whether the check was done', () => {
  for (const [name, image] of Object.entries(images)) {
    const { version, runs } = JSON.parse(report('sarif', image).text) as Sarif
    assert.equal(version, '2.1.0')
    assert.equal(runs.length, 1)
    const [run] = runs
    assert.ok(run)
    assert.equal(run.tool.driver.name, 'xfskit')
    assert.equal(run.invocations[0]?.executionSuccessful, name !== 'short')
    const levels = run.results.map(({ level }) => level)
    assert.deepEqual(levels, { clean: [], damaged: ['error'], harmless: ['note'], short: [] }[name])
    for (const { ruleId, ruleIndex, message, locations } of run.results) {
      assert.equal(run.tool.driver.rules[ruleIndex]?.id, ruleId)
      assert.match(message.text, /^AG \d+: /)
      const { uri } = locations[0]?.physicalLocation.artifactLocation ?? { uri: '' }
      assert.equal(decodeURIComponent(new URL(uri).pathname), image)
    }
  }
})

test('SARIF: the schema of OASIS', { skip: outsideSkip }, () => {
  const { $schema, id, ...schema } = JSON.parse(readFileSync(SCHEMA, 'utf8'))
  assert.match(`${$schema} ${id}`, /draft-0\d\/schema.* .*sarif/)
  const validate = new Ajv({ strict: false, allErrors: true, validateFormats: false, unicodeRegExp: false }).compile(
    schema,
  )
  for (const image of Object.values(images)) {
    const log = JSON.parse(report('sarif', image).text)
    assert.equal(validate(log), true, JSON.stringify(validate.errors))
    log.runs[0].invocations[0].executionSuccessful = 'yes'
    assert.equal(validate(log), false, 'the schema judges')
  }
})

/** An element of XML, with its content. */
interface Element {
  readonly name: string
  readonly attributes: Readonly<Record<string, string>>
  readonly children: Element[]
  text: string
}

const textOf = (text: string): string => {
  assert.doesNotMatch(text, /&(?!(amp|lt|gt|quot|#10);)/)
  return text
    .replaceAll('&#10;', '\n')
    .replaceAll('&quot;', '"')
    .replaceAll('&gt;', '>')
    .replaceAll('&lt;', '<')
    .replaceAll('&amp;', '&')
}

/** @throws if it is not well-formed */
function parseXml(xml: string): Element {
  const head = '<?xml version="1.0" encoding="UTF-8"?>\n'
  assert.ok(xml.startsWith(head))
  const open: Element[] = [{ name: '', attributes: {}, children: [], text: '' }]
  for (const [, tag, text] of xml.slice(head.length).matchAll(/<([^<>]*)>|([^<>]+)/g)) {
    const top = open.at(-1) as Element
    if (text !== undefined) top.text += textOf(text)
    else if (tag?.startsWith('/')) assert.equal(open.pop()?.name, tag.slice(1))
    else {
      const match = /^([\w-]+)((?: \w+="[^"<&]*(?:&\w+;[^"<&]*|&#10;[^"<&]*)*")*)(\/?)$/.exec(tag ?? '')
      assert.ok(match, `a tag: ${tag}`)
      const attributes = Object.fromEntries(
        [...(match[2] as string).matchAll(/ (\w+)="([^"]*)"/g)].map(([, name, value]) => [
          name,
          textOf(value as string),
        ]),
      )
      const element = { name: match[1] as string, attributes, children: [], text: '' }
      top.children.push(element)
      if (match[3] === '') open.push(element)
    }
  }
  assert.equal(open.length, 1, 'every element ends')
  const [root, ...more] = (open[0] as Element).children
  assert.ok(root && more.length === 0)
  return root
}

test('JUnit: the same test cases in each run, and those fail that found something', () => {
  const kinds = [...new Set(problemIds.map((id) => id.replace(/\..*/, '')))]
  for (const [name, image] of Object.entries(images)) {
    const root = parseXml(report('junit', image).text)
    assert.equal(root.name, 'testsuites')
    const [suite] = root.children
    const cases = suite?.children ?? []
    const expected = { clean: [0, 0], damaged: [1, 0], harmless: [0, 0], short: [0, 1] }[name] ?? []
    const { tests, failures, errors } = suite?.attributes ?? {}
    assert.deepEqual([tests, failures, errors].map(Number), [cases.length, ...expected])
    for (const { attributes } of cases) assert.equal(attributes['classname'], image)
    const names = cases.map(({ attributes }) => attributes['name'])
    assert.deepEqual(names, name === 'short' ? ['check'] : kinds)
    const inside = cases.flatMap((one) => one.children.map((child) => [one.attributes['name'], child] as const))
    assert.equal(inside.length, name === 'clean' ? 0 : 1)
    for (const [of, child] of inside) {
      if (name === 'damaged') {
        assert.deepEqual([of, child.name, child.attributes['type']], ['refcountbt', 'failure', 'refcountbt.high'])
        assert.match(child.text, /^AG 0: refcountbt counts 9 owners .* {2}\[refcountbt\.high\]$/)
      } else if (name === 'harmless') assert.deepEqual([of, child.name], ['cow', 'system-out'])
      else assert.deepEqual([of, child.name], ['check', 'error'])
    }
  }
})

test('GitHub: an annotation per finding, with what its syntax does not allow escaped', () => {
  for (const [name, image] of Object.entries(images)) {
    const lines = report('github', image).text.split('\n').slice(0, -1)
    assert.equal(lines.length, name === 'clean' ? 0 : 1)
    for (const line of lines) {
      const match = /^::(error|notice) file=([^:,]*),title=([^:,]*)::([^\r\n]+)$/.exec(line)
      assert.ok(match, line)
      const [, level, file = '', title, message] = match
      assert.equal(level, name === 'harmless' ? 'notice' : 'error')
      const plain = file.replaceAll('%3A', ':').replaceAll('%2C', ',').replaceAll('%25', '%')
      assert.equal(plain, image)
      assert.equal(title, { damaged: 'refcountbt.high', harmless: 'cow.leftover', short: 'not checked' }[name])
      assert.match(message as string, name === 'short' ? /not an XFS image: it has only 100 bytes/ : /^AG 0: /)
    }
  }
})
