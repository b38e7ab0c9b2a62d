/** The options of the plugin, and of shared(). */
import type { FastifyInstance } from 'fastify'
import * as check from './check.ts'

export interface RaceOptions {
  /**
   * Rejects `app.close()` with FC_ERR_RACE if a race was confirmed in this app, so that its test fails. With RACE=1 in vitest and jest, which look
   * at no exit code, it always does.
   * @default false
   */
  fail?: boolean
  /**
   * How many places of tracked state are remembered: keys of Maps, fields of objects, elements of arrays. The oldest are forgotten, and
   * races on them are missed.
   * @default 100_000
   */
  maxLocations?: number
}

export type ResolvedRaceOptions = Required<RaceOptions>

/** @internal Every option, for the test that compares them with the docs. */
export const raceOptionNames = ['fail', 'maxLocations'] as const satisfies ReadonlyArray<keyof RaceOptions>

export function resolveOptions (options: RaceOptions): ResolvedRaceOptions {
  check.record('race', options, raceOptionNames)
  return {
    fail: check.boolean('race.fail', options.fail ?? false),
    maxLocations: check.integer('race.maxLocations', options.maxLocations ?? 100_000, { min: 1 })
  }
}

/** Checks an argument that must be an application. */
export function checkApp (option: string, value: unknown): FastifyInstance {
  const { inject, ready } = Object(value) as Partial<FastifyInstance>
  check.ensure(typeof inject === 'function' && typeof ready === 'function', option, 'a Fastify instance', value)
  return value as FastifyInstance
}

export interface SharedOptions {
  /**
   * The last writer may win: a cache with a time to live, a gauge. Nothing is reported of it.
   * @default false
   */
  lww?: boolean
}

/** @internal Every option, for the test that compares them with the docs. */
export const sharedOptionNames = ['lww'] as const satisfies ReadonlyArray<keyof SharedOptions>
