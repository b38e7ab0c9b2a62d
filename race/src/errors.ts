/** The coded errors of the race detector. The README of this package has a row for each. */
import { createError } from '@fastify/error'

/** An option, an argument or a variable of the environment is not what it may be. */
export class OptionInvalidError extends createError<[option: string, expected: string, received: string]>(
  'FC_ERR_OPTION_INVALID', 'Option "%s": expected %s, received %s') {}

/** Rejects `app.close()` of an app with the race detector's `fail`. The message has the reports. */
export class RaceError extends createError<[count: number, reports: string]>('FC_ERR_RACE', 'Requests of this app raced (%d races):\n%s') {}

/** The race detector can't do what RACE=1 asks for. It says so at the start: a run that finds nothing would pass for that alone. */
export class RaceUnreadableError extends createError<[what: string]>(
  'FC_ERR_RACE_UNREADABLE', 'The race detector can\'t read your modules, and would find nothing: %s') {}

/** The first order of an exploration in which the invariant threw, which is the `cause`, or in which requests raced. */
export class ExploreError extends createError<[seed: number, why: string, options?: ErrorOptions]>('FC_ERR_EXPLORE', 'With seed %d: %s') {}
