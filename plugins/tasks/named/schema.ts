/** Schemas of payloads: JSON Schema by Fastify's own compiler, or a Standard Schema (standardschema.dev). */
import * as check from '../../shared/options.ts'

/** `undefined`, or what is wrong. */
export type Validate = (payload: unknown) => string | undefined | Promise<string | undefined>

interface StandardSchema {
  '~standard': { validate (value: unknown): StandardResult | Promise<StandardResult> }
}

interface StandardResult {
  issues?: ReadonlyArray<{ message: string, path?: ReadonlyArray<PropertyKey | { key: PropertyKey }> | undefined }> | undefined
}

// Nothing is coerced or filled in: what the caller passed is what the handler gets, on every engine.
const ajvOptions = { coerceTypes: false, useDefaults: false, removeAdditional: false, allErrors: false } as const

/** Throws FC_ERR_OPTION_INVALID if it is no schema. */
export async function compileSchema (option: string, schema: object): Promise<Validate> {
  check.record(option, schema)
  if ('~standard' in schema) return (payload) => standard(schema as StandardSchema, payload)
  // Its promise would be no answer, and a rejection that nobody handles.
  check.ensure((schema as { $async?: unknown }).$async !== true, option, 'a JSON Schema without $async', schema)
  const validate = await compile(option, schema)
  return (payload) => {
    if (validate(payload) === true) return undefined
    const [error] = validate.errors ?? []
    return `payload${error?.instancePath ?? ''} ${error?.message ?? 'does not match'}`
  }
}

interface AjvValidate {
  (payload: unknown): unknown
  errors?: Array<{ instancePath?: string, message?: string }> | null
}

async function compile (option: string, schema: object): Promise<AjvValidate> {
  // Loaded by who has such a schema only.
  const { default: AjvCompiler } = await import('@fastify/ajv-compiler')
  try {
    // Its types know routes only.
    const compiler = AjvCompiler()({}, { customOptions: ajvOptions } as never) as unknown as (route: { schema: object }) => AjvValidate
    return compiler({ schema })
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
