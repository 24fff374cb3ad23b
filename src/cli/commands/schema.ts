import { type Command, UsageError } from '../command.ts'
import { schemaOf, schemas } from '../schemas.ts'

const schema: Command<{ name?: string }> = {
  command: 'schema [name]',
  describe: 'print the JSON Schema of the output of a command with --json',
  examples: [
    ['$0 schema', 'the names of all schemas'],
    ['$0 schema stat', 'the schema of the document that `xfskit stat --json` prints'],
  ],
  builder: (yargs) =>
    yargs.positional('name', { type: 'string', describe: 'of a schema, without "xfskit." (default: list the names)' }),
  handler: ({ name }, { out }) => {
    if (name === undefined) out.raw(`${Object.keys(schemas).join('\n')}\n`)
    else {
      const found = schemaOf(name)
      if (!found) throw new UsageError(`no schema ${name}; xfskit schema lists them`)
      out.raw(`${JSON.stringify(found, null, 2)}\n`)
    }
  },
}
export default schema
