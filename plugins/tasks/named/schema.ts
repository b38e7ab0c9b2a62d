/** Checks payloads by a schema: JSON Schema, by Fastify's own compiler, or a Standard Schema (standardschema.dev). */
import * as check from '../../shared/options.ts'

/** Returns undefined, or what is wrong with the payload. */
export type Validate = (payload: unknown) => string | undefined | Promise<string | undefined>

interface StandardSchema {
  '~standard': { validate (value: unknown): StandardResult | Promise<StandardResult> }
}

interface StandardResult {
  issues?: ReadonlyArray<{
    message: string, path?: ReadonlyArray<PropertyKey | { key: PropertyKey }> | undefined
  }> | undefined
}

// Nothing is coerced or filled in: the handler gets what the caller passed, on every engine.
const ajvOptions = { coerceTypes: false, useDefaults: false, removeAdditional: false, allErrors: false } as const

/** @throws FC_ERR_OPTION_INVALID if `schema` is neither kind of schema */
export async function compileSchema (option: string, schema: object): Promise<Validate> {
  check.record(option, schema)
  if ('~standard' in schema) return (payload) => standard(schema as StandardSchema, payload)
  // The promise of such a schema would be no answer, and a rejection that nobody handles.
  check.ensure(!('$async' in schema) || schema.$async !== true, option, 'a JSON Schema without $async', schema)
  // Imported here, since most applications have no such schema.
  const { default: AjvCompiler } = await import('@fastify/ajv-compiler')
  try {
    const validate = AjvCompiler()({}, { customOptions: ajvOptions })({ schema })
    return (payload) => {
      if (validate(payload) === true) return undefined
      const [error] = validate.errors ?? []
      return `payload${error?.instancePath ?? ''} ${error?.message ?? 'does not match'}`
    }
  } catch (error) {
    check.ensure(false, option, `a valid JSON Schema (${(error as Error).message})`, schema)
    throw error
  }
}

async function standard (schema: StandardSchema, payload: unknown): Promise<string | undefined> {
  const { issues } = await schema['~standard'].validate(payload)
  const [issue] = issues ?? []
  if (issue === undefined) return undefined
  const path = (issue.path ?? []).map((part) => `/${String(typeof part === 'object' ? part.key : part)}`).join('')
  return `payload${path} ${issue.message}`
}
